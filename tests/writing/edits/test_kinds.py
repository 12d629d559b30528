"""Each kind of edit on sentences whose answer is known."""

from __future__ import annotations

import pytest

from foils.writing.edits import Draw, Gazetteer, Source, edited, negated, options
from foils.writing.edits.dates import dates
from foils.writing.edits.gazetteer import alias, mentions, shape, title_type
from foils.writing.edits.numbers import numerals

DRAW = Draw(7)


def texts(kind, text, **other):
    source = Source(text, **other)
    return [edited(kind, source, DRAW, nth, "region").text for nth in range(len(options(kind, source, DRAW, "region")))]


@pytest.mark.parametrize(
    ("sentence", "other"),
    [
        ("The embargo was lifted.", "The embargo was not lifted."),
        ("It can be cured.", "It cannot be cured."),
        ("The crisis caused the war.", "The crisis did not cause the war."),
        ("He who was king has left the town.", "He who was king has not left the town."),
        ("If it is wet, the road may close.", "If it is wet, the road may not close."),
        ("Symptoms that are mild will pass.", "Symptoms that are mild will not pass."),
        ("Rain had fallen.", "Rain had not fallen."),
    ],
)
def test_negation_at_the_main_auxiliary_and_back(sentence, other):
    for one, two in ((sentence, other), (other, sentence)):
        edit = negated(one)
        assert one[: edit.start] + edit.after + one[edit.end :] == two


@pytest.mark.parametrize(
    "sentence",
    [
        "Was it lifted?",
        "It isn't known.",
        "It is no longer so.",
        "He has a brother.",
        "It is not only big.",
        "It can not be.",
        "Rain.",
    ],
)
def test_no_negation_where_it_could_not_be_given_back(sentence):
    assert negated(sentence) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It cost 1,250 pounds, or 12.50 each.", ["1,250", "12.50"]),
        ("COVID-19, an F-16, 1-800-232-4636, 7:30, 3/4, 1.2.3 and H1N1", []),
        ("On 12 March 1984, 40 people", ["40"]),
        ("the 1990s and the 19th century", ["1990s", "19th"]),
        ("an 80s song", []),
        ("x² and ١٢٣ and 5² people", []),
    ],
)
def test_numbers_are_quantities_and_years(text, found):
    assert [text[n.start : n.end] for n in numerals(text)] == found


def test_years_and_their_bounds():
    year, people = numerals("In 1973 there were 1500 people.")
    assert (year.year, people.year) == (True, False)
    low, high = numerals("5 to 10 percent")
    assert (low.below, high.above, high.below) == (10, 5, 100.01)
    for key in range(200):
        made = edited("number", Source("It ended in 2020."), Draw(key))
        assert made is None or 1990 <= int(made.text[12:16]) <= 2026


def test_a_year_changes_everywhere_with_the_title():
    source = Source("The crisis began in 1973. In 1973, oil rose.", "1973 oil crisis", "When did it begin?", ["1973"])
    made = edited("number", source, DRAW)
    year = made.title[:4]
    assert year != "1973"
    assert made.text == f"The crisis began in {year}. In {year}, oil rose."
    assert made.title == f"{year} oil crisis"


def test_nothing_possible_gives_nothing():
    for kind in ("number", "date", "entity", "negation", "antonym", "comparison", "unit", "modality", "facet"):
        assert edited(kind, Source("Cats purr softly."), DRAW) is None
        assert edited(kind, Source(""), DRAW) is None
    assert edited("deletion", Source("Cats purr.", query="What do cats do?"), DRAW) is None


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("12 March 1984", (12, 3, 1984)),
        ("the 3rd of March", (3, 3, -1)),
        ("March 12, 1984", (12, 3, 1984)),
        ("Mar. 1984", (-1, 3, 1984)),
        ("Sept. 4, 1999", (4, 9, 1999)),
        ("1984-02-29", (29, 2, 1984)),
        ("12/31/99", (31, 12, 1999)),
        ("31/12/1999", (31, 12, 1999)),
        ("24.12.2001", (24, 12, 2001)),
        ("in October", (-1, 10, -1)),
    ],
)
def test_dates_are_read(text, date):
    (found,) = dates(f"It was {text}.")
    assert (found.day, found.month, found.year) == date


@pytest.mark.parametrize("text", ["1983-02-29", "31 April 1999", "13/13/1999", "0500-01-02", "may be 5", "1973"])
def test_what_is_no_date(text):
    assert dates(f"It was {text}.") == []


def test_a_weekday_follows_its_date():
    for made in texts("date", "It was on Monday, March 12, 1984."):
        import datetime

        word, month, day, year = made[10:-1].replace(",", "").split()
        date = datetime.datetime.strptime(f"{month} {day} {year}", "%B %d %Y")
        assert date.strftime("%A") == word


def test_opposites_keep_capitals_and_articles():
    house, rain = sorted(texts("antonym", "An old house. Cold rain."))
    assert house in {"A new house. Cold rain.", "A young house. Cold rain."}
    assert rain == "An old house. Hot rain."
    assert sorted(texts("comparison", "Before the war, prices rose.")) == [
        "After the war, prices rose.",
        "Before the war, prices fell.",
    ]
    assert texts("antonym", "North Korea is in the Old Town of no great age.") == []
    assert texts("comparison", "It is no longer so.") == []


def test_modality_is_no_month_and_no_testament():
    assert texts("modality", "In May the will of the king and his last will appeared.") == []
    assert texts("modality", "Patients must rest.") != []


def test_a_unit_changes_within_its_dimension():
    assert texts("unit", "A meter, some days, kg.") == []
    (made,) = texts("unit", "It took 5 hours.")
    assert made.split()[3].rstrip(".") in {
        "seconds",
        "minutes",
        "days",
        "weeks",
        "months",
        "years",
        "decades",
        "centuries",
    }
    (made,) = texts("unit", "It cost $12.")
    assert made in {"It cost £12.", "It cost €12.", "It cost ¥12."}
    for key in range(50):
        made = edited("unit", Source("5 metres long"), Draw(key))
        assert " meters" not in made.text  # another spelling is no other unit


def test_words_of_the_query_change_everywhere():
    text = "Chronic pain lasts. Treatments for chronic pain differ."
    made = edited("antonym", Source(text, "Chronic Pain", "What are treatments for chronic pain?"), DRAW)
    assert (made.text, made.title) == ("Acute pain lasts. Treatments for acute pain differ.", "Acute Pain")


def test_deletion_takes_all_sentences_that_hold_the_answer():
    text = (
        "Rome fell. It has many hills and roads. The end came in 476. So 476 it is. Much was written later on about it."
    )
    source = Source(text, query="When did Rome fall?", answers=["476"])
    made = edited("deletion", source, DRAW)
    assert made.text == "Rome fell. It has many hills and roads. Much was written later on about it."
    assert edited("deletion", Source("It fell in 476. Sad.", query="When?", answers=["476"]), DRAW) is None


def test_facet_puts_other_sentences_in_place():
    donor = "Rome has a mild climate in winter. The answer 476 stands here too."
    source = Source("Rome fell in 476. Much was written.", "Rome", "When did Rome fall?", ["476"], donors=[donor])
    (option,) = options("facet", source, DRAW)
    assert [edit.after for edit in option] == ["Rome has a mild climate in winter."]


CORPUS = [
    ("", "President Richard Nixon met Mary Shelley in Paris. Richard Nixon, who was born there, left."),
    (
        "",
        "The Organization of Arab States (OAS) is near Oxford University, in Zanzibar. All stay in Zanzibar.",
    ),
    ("Reactive arthritis", "It hurts in Zanzibar. Later Mary Shelley, also known as Anna Klein, saw Yale University."),
]


def test_the_gazetteer_types_names_by_rule():
    found = Gazetteer.of(*zip(*CORPUS, strict=True))
    assert found.types == {
        "Richard Nixon": "person",
        "Mary Shelley": "person",
        "Paris": "place",
        "Zanzibar": "place",
        "Oxford University": "organisation",
        "Yale University": "organisation",
        "Organization of Arab States": "organisation",
        "Anna Klein": "person",
        "Reactive arthritis": "condition",
    }
    assert found.slots["place", "one"] == ("Paris", "Zanzibar")
    assert found.same("Mary Shelley", "Anna Klein")
    assert found.same("OAS", "Organization of Arab States")
    assert not found.same("Oxford University", "Yale University")


def test_mentions_leave_out_what_only_begins_a_sentence():
    assert [m.name for m in mentions("The war began. In March President Lincoln’s men left New York.")] == [
        "Lincoln",
        "New York",
    ]


@pytest.mark.parametrize(
    ("one", "other"), [("Nixon", "Richard Nixon"), ("Norman", "Normandy"), ("European Union", "EU")]
)
def test_aliases(one, other):
    assert alias(one, other)
    assert alias(other, one)


def test_shapes_and_titles():
    assert [shape(name) for name in ("NASA", "Paris", "New York")] == ["short", "one", "many"]
    assert (title_type("Reactive arthritis"), title_type("Paris")) == ("condition", None)


def test_a_person_changes_with_the_last_name_alone():
    gazetteer = Gazetteer({"Richard Nixon": "person", "Isaac Newton": "person"}, {})
    text = "Richard Nixon won. Later Nixon left."
    made = edited("entity", Source(text, "", "Who won?", ["Richard Nixon"], [text], gazetteer), DRAW)
    assert made.text == "Isaac Newton won. Later Newton left."


def test_a_condition_changes_with_its_acronym_and_title():
    gazetteer = Gazetteer({"Acute lymphoblastic leukemia": "condition", "Kidney failure": "condition"}, {})
    text = "Acute lymphoblastic leukemia (ALL) is treated. For ALL there is chemotherapy."
    source = Source(
        text, "Acute lymphoblastic leukemia", "How is acute lymphoblastic leukemia treated?", (), [text], gazetteer
    )
    made = edited("entity", source, DRAW)
    assert made.text == "Kidney failure (KF) is treated. For KF there is chemotherapy."
    assert made.title == "Kidney failure"


def test_names_known_to_the_query_or_a_positive_are_not_taken():
    gazetteer = Gazetteer(dict.fromkeys(("Paris", "Rome", "Spain"), "place"), {})
    for known in (
        {"query": "Is Rome or Paris meant?"},
        {"query": "Paris?", "positives": ["He saw Rome."]},
        {"query": "Paris?", "answers": ["Rome", "Paris"]},
    ):
        for key in range(20):
            made = edited("entity", Source("It is Paris.", gazetteer=gazetteer, **known), Draw(key))
            assert made.text == "It is Spain."


def test_identity_edits_say_the_same():
    text = "About 1,000 people, 5% of them, is not two miles or 3 km away on 12 March 1984."
    made = texts("identity", text)
    for part in ("1000 people", "5 percent", "isn't", "2 miles", "3 kilometres", "March 12, 1984"):
        assert sum(part in other for other in made) == 1


def test_views_keep_the_answer():
    text = "Rome is a large city. It began to fall in 476 and got help. Many words are here to be cropped away now."
    source = Source(text, "", "When did Rome fall?", ["476"])
    for kind in ("synonym", "drop", "crop", "span"):
        for key in range(30):
            made = edited(kind, source, Draw(key))
            assert "476" in made.text
    assert edited("span", source, DRAW).text == "It began to fall in 476 and got help."
    sizes = {len(edited("crop", source, Draw(key)).text.split()) for key in range(60)}
    assert min(sizes) >= 11
    assert max(sizes) <= 20
