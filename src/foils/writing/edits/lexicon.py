"""Word lists of the edits. English only; written for this library, short on purpose: a wrong swap costs more than none.

Pairs are written ``one/other``, and hold in both directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def pairs(text: str) -> list[tuple[str, str]]:
    """The pairs of a list, ``_`` standing for a blank within a word."""
    return [tuple(word.replace("_", " ") for word in pair.split("/")) for pair in text.split()]  # type: ignore[misc]


def words(text: str) -> list[str]:
    """The words of a list."""
    return text.split()


def both_ways(*lists: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    """Each word with the words that stand opposite to it, in the order of the list."""
    table: dict[str, tuple[str, ...]] = {}
    for one, other in (pair for pairs_ in lists for pair in pairs_):
        table[one] = (*table.get(one, ()), other)
        table[other] = (*table.get(other, ()), one)
    return table


STOP = frozenset(
    words("""a about after all also am an and any are as at be because been before being both but by can could did
        do does doing done during each either else etc ever every few for from get gets got had has have
        having he her here hers him his how i if in into is it its itself just kind later known made make many may
        me might more most much must my name named no nor not of off often on once one only or other our out
        over own per same shall she should so some such than that the their them then there these they this
        those through thus to too under until up us use used very was way we were what when where whether
        which while who whom whose why will with within without would yes yet you your""")
)

ANTONYMS = both_ways(
    pairs(
        """good/bad hot/cold warm/cool big/small large/small long/short tall/short high/low deep/shallow
        wide/narrow thick/thin heavy/light strong/weak hard/soft fast/slow quick/slow quickly/slowly
        rapid/slow rapidly/slowly early/late new/old young/old modern/ancient rich/poor wealthy/poor
        cheap/expensive easy/difficult simple/complex safe/dangerous clean/dirty dry/wet full/empty
        open/closed opened/closed opens/closes public/private internal/external inner/outer inside/outside
        indoor/outdoor upper/lower top/bottom front/rear left/right north/south northern/southern east/west
        eastern/western northeast/southwest northwest/southeast urban/rural domestic/foreign local/global
        national/international civilian/military military/civil formal/informal official/unofficial
        legal/illegal lawful/unlawful guilty/innocent male/female men/women man/woman boys/girls boy/girl
        father/mother son/daughter sons/daughters brother/sister brothers/sisters husband/wife king/queen
        uncle/aunt mothers/fathers maternal/paternal parents/children positive/negative active/inactive
        acute/chronic benign/malignant mild/severe dominant/recessive inherited/acquired congenital/acquired
        common/rare frequent/infrequent frequently/rarely usual/unusual normal/abnormal typical/atypical
        healthy/sick alive/dead life/death born/deceased birth/death visible/invisible direct/indirect
        directly/indirectly voluntary/involuntary temporary/permanent temporarily/permanently
        natural/artificial voluntary/compulsory optional/mandatory success/failure successful/unsuccessful
        successfully/unsuccessfully victory/defeat won/lost win/lose winning/losing winner/loser accept/reject
        accepted/rejected accepts/rejects allow/forbid allowed/forbidden permit/prohibit permitted/prohibited
        include/exclude included/excluded includes/excludes including/excluding begin/end begins/ends
        began/ended beginning/end start/stop started/stopped starts/stops starting/ending build/destroy
        built/destroyed create/destroy created/destroyed arrive/depart arrived/departed enter/leave
        entered/left buy/sell bought/sold import/export imported/exported imports/exports supply/demand
        love/hate loved/hated support/oppose supported/opposed supports/opposes supporters/opponents
        supporter/opponent attack/defend attacked/defended attacking/defending friend/enemy friends/enemies
        ally/enemy allies/enemies agree/disagree agreed/disagreed approve/disapprove approved/rejected
        praise/criticize praised/criticized remember/forget lend/borrow push/pull appear/disappear
        appeared/disappeared connect/separate connected/separated united/divided majority/minority
        always/never everyone/nobody everything/nothing with/without presence/absence present/absent
        same/different similar/different equal/unequal complete/incomplete perfect/imperfect
        possible/impossible likely/unlikely certain/uncertain known/unknown aware/unaware able/unable
        necessary/unnecessary important/unimportant significant/insignificant major/minor main/secondary
        primary/secondary essential/optional effective/ineffective efficient/inefficient popular/unpopular
        famous/unknown happy/unhappy fortunate/unfortunate expected/unexpected pleasant/unpleasant fair/unfair
        stable/unstable reliable/unreliable advantage/disadvantage advantages/disadvantages benefit/harm
        benefits/harms beneficial/harmful useful/useless toxic/harmless light/dark bright/dark day/night
        morning/evening summer/winter spring/autumn sunrise/sunset first/last former/latter initial/final
        initially/finally ancestor/descendant ancestors/descendants teacher/student teachers/students
        employer/employee employers/employees employed/unemployed liberal/conservative optimistic/pessimistic
        religious/secular Catholic/Protestant vertical/horizontal parallel/perpendicular odd/even
        finite/infinite solid/liquid cause/prevent causes/prevents caused/prevented causing/preventing
        protect/harm protects/harms improve/worsen improves/worsens improved/worsened curable/incurable
        contagious/noncontagious sufficient/insufficient symmetric/asymmetric reversible/irreversible
        abundance/scarcity expansion/contraction"""
    )
)

COMPARISONS = both_ways(
    pairs(
        """more/less more/fewer most/least higher/lower highest/lowest greater/smaller greatest/smallest
        larger/smaller largest/smallest bigger/smaller biggest/smallest better/worse best/worst longer/shorter
        longest/shortest older/younger oldest/youngest earlier/later earliest/latest stronger/weaker
        strongest/weakest faster/slower fastest/slowest deeper/shallower wider/narrower warmer/colder
        hotter/colder hottest/coldest heavier/lighter richer/poorer richest/poorest wealthier/poorer
        easier/harder closer/farther nearest/farthest before/after above/below preceding/following
        preceded/followed precedes/follows increase/decrease increases/decreases increased/decreased
        increasing/decreasing rise/fall rises/falls rose/fell rising/falling grew/shrank grow/shrink
        growing/shrinking growth/decline gain/loss gained/lost raise/lower raised/lowered raises/lowers
        raising/lowering upward/downward upwards/downwards maximum/minimum superior/inferior
        ascending/descending majority/minority overestimated/underestimated accelerated/slowed
        strengthened/weakened expanded/shrunk"""
    )
)

MODALITY = both_ways(
    pairs(
        """may/must might/must can/must could/must may/will might/will would/might should/may always/sometimes
        possibly/certainly perhaps/certainly probably/certainly usually/rarely generally/rarely often/seldom
        sometimes/always definitely/possibly optional/required allowed/required permitted/obliged
        optionally/necessarily can/will"""
    )
)
AUXILIARIES = frozenset(["may", "might", "must", "can", "could", "will", "would", "should"])

# One line a dimension; units of one line stand in for each other. Plain words: singular/plural. Signs stand alone.
UNITS = {
    "length": pairs(
        """mile/miles kilometre/kilometres kilometer/kilometers metre/metres meter/meters foot/feet inch/inches
        yard/yards centimetre/centimetres centimeter/centimeters millimetre/millimetres millimeter/millimeters"""
    ),
    "length, short": pairs("km/km m/m cm/cm mm/mm ft/ft mi/mi"),
    "mass": pairs("kilogram/kilograms gram/grams pound/pounds ounce/ounces ton/tons tonne/tonnes milligram/milligrams"),
    "mass, short": pairs("kg/kg g/g mg/mg lb/lb oz/oz mcg/mcg"),
    "time": pairs(
        "second/seconds minute/minutes hour/hours day/days week/weeks month/months year/years decade/decades"
        " century/centuries"
    ),
    "volume": pairs(
        "litre/litres liter/liters gallon/gallons pint/pints millilitre/millilitres milliliter/milliliters"
    ),
    "volume, short": pairs("l/l ml/ml L/L mL/mL"),
    "area": pairs(
        "square_mile/square_miles square_kilometre/square_kilometres square_kilometer/square_kilometers"
        " square_metre/square_metres square_meter/square_meters square_foot/square_feet acre/acres hectare/hectares"
    ),
    "magnitude": pairs("hundred/hundred thousand/thousand million/million billion/billion trillion/trillion"),
    "speed": [("mph", "mph"), ("km/h", "km/h"), ("m/s", "m/s")],
    "temperature": [("°C", "°C"), ("°F", "°F"), ("K", "K")],
    "temperature, written": pairs("degrees_Celsius/degrees_Celsius degrees_Fahrenheit/degrees_Fahrenheit"),
    "power": pairs("watt/watts kilowatt/kilowatts megawatt/megawatts gigawatt/gigawatts"),
    "power, short": pairs("W/W kW/kW MW/MW GW/GW"),
    "data": pairs("KB/KB MB/MB GB/GB TB/TB"),
    "data, written": pairs("kilobyte/kilobytes megabyte/megabytes gigabyte/gigabytes terabyte/terabytes"),
    "frequency": pairs("Hz/Hz kHz/kHz MHz/MHz GHz/GHz"),
    "money": pairs("dollar/dollars euro/euros yen/yen franc/francs"),
}
CURRENCIES = ("$", "£", "€", "¥")

# What means nearly the same. Used by views and by the edits that change nothing.
SYNONYMS = both_ways(
    pairs(
        """big/large begin/start begins/starts began/started buy/purchase bought/purchased help/assist
        helps/assists helped/assisted show/demonstrate shows/demonstrates showed/demonstrated quick/rapid
        quickly/rapidly approximately/about roughly/about nearly/almost often/frequently usually/typically
        commonly/frequently children/kids physician/doctor physicians/doctors disease/illness
        diseases/illnesses sickness/illness medicine/drug medicines/drugs medication/drug medications/drugs
        treatment/therapy treatments/therapies however/nevertheless therefore/consequently because/since
        important/significant main/principal chief/principal several/various many/numerous entire/whole
        complete/total build/construct built/constructed builds/constructs called/named near/close_to
        also/additionally although/though while/whereas during/throughout founded/established creates/produces
        created/produced famous/well-known rich/wealthy difficult/hard error/mistake errors/mistakes
        job/occupation country/nation countries/nations region/area regions/areas town/city big/sizeable
        film/movie films/movies car/automobile cars/automobiles ship/vessel ships/vessels war/conflict
        happen/occur happens/occurs happened/occurred get/obtain receive/get received/got need/require
        needs/requires needed/required use/employ uses/employs allow/permit allows/permits allowed/permitted
        end/conclude ended/concluded ends/concludes choose/select chose/selected chosen/selected answer/reply
        attempt/try attempted/tried look/appear looks/appears keep/retain kept/retained lets/allows stop/halt
        stopped/halted speak/talk infant/baby infants/babies abnormal/irregular kind/type kinds/types
        form/type forms/types symptom/sign symptoms/signs cause/reason causes/reasons test/exam tests/exams
        further/additional extra/additional initial/first final/last right_away/immediately
        in_addition/moreover such_as/for_example for_instance/for_example due_to/because_of
        as_well_as/along_with in_order_to/to prior_to/before a_lot_of/many"""
    )
)

NATIONALITIES = frozenset(
    words("""Afghan African Albanian Algerian American Arab Argentine Armenian Asian Australian Austrian
        Bangladeshi Belgian Bolivian Brazilian British Bulgarian Burmese Cambodian Canadian Chilean Chinese
        Colombian Croatian Cuban Czech Danish Dutch Egyptian English Estonian Ethiopian European Finnish
        French German Greek Hungarian Icelandic Indian Indonesian Iranian Iraqi Irish Israeli Italian Jamaican
        Japanese Kenyan Korean Lebanese Libyan Lithuanian Malaysian Mexican Mongolian Moroccan Nepalese
        Nigerian Norwegian Ottoman Pakistani Palestinian Persian Peruvian Polish Portuguese Prussian Roman
        Romanian Russian Scottish Serbian Slovak Somali Soviet Spanish Sudanese Swedish Swiss Syrian Taiwanese
        Thai Tunisian Turkish Ukrainian Venezuelan Vietnamese Welsh""")
)

PLACES = frozenset(
    place.replace("_", " ")
    for place in words(
        """Afghanistan Africa Alabama Alaska Albania Alexandria Algeria America Amsterdam Antarctica Argentina
        Arizona Arkansas Armenia Asia Athens Atlanta Australia Austria Baghdad Baltimore Bangladesh Barcelona
        Bavaria Beijing Belgium Berlin Birmingham Bohemia Bolivia Bombay Boston Brazil Britain Brooklyn
        Brussels Budapest Bulgaria Burma Byzantium Cairo Calcutta California Cambodia Canada Chicago Chile
        China Cleveland Colombia Colorado Connecticut Constantinople Copenhagen Croatia Cuba Cyprus Dallas
        Damascus Delaware Delhi Denmark Denver Detroit Dublin Ecuador Edinburgh Egypt England Estonia Ethiopia
        Europe Finland Florence Florida France Frankfurt Geneva Georgia Germany Ghana Glasgow Greece Hamburg
        Hawaii Hollywood Holland Hong_Kong Houston Hungary Iceland Idaho Illinois India Indiana Indonesia Iowa
        Iran Iraq Ireland Israel Istanbul Italy Jamaica Japan Java Jerusalem Jordan Kansas Kentucky Kenya
        Korea Kuwait Latvia Lebanon Leipzig Liberia Libya Lisbon Lithuania Liverpool London Los_Angeles
        Louisiana Madrid Maine Malaysia Manchester Manhattan Maryland Massachusetts Melbourne Mexico Miami
        Michigan Milan Minnesota Mississippi Missouri Mongolia Montana Montreal Morocco Moscow Mumbai Munich
        Naples Nebraska Nepal Netherlands Nevada New_Hampshire New_Jersey New_Mexico New_Orleans New_York
        New_Zealand Nigeria Normandy North_Carolina North_Dakota North_Korea Norway Ohio Oklahoma Oregon
        Oxford Pakistan Palestine Panama Paris Pennsylvania Persia Peru Philadelphia Philippines Phoenix
        Pittsburgh Poland Portugal Prague Prussia Quebec Rhode_Island Rome Romania Russia San_Diego
        San_Francisco Saudi_Arabia Saxony Scandinavia Scotland Seattle Serbia Seville Shanghai Siberia Sicily
        Singapore Slovakia Slovenia Somalia South_Africa South_Carolina South_Dakota South_Korea Spain
        Stockholm Sudan Sweden Switzerland Sydney Syria Taiwan Tehran Tennessee Texas Thailand Tibet Tokyo
        Toronto Tunisia Turkey Tuscany Uganda Ukraine United_Kingdom United_States Utah Vancouver Venezuela
        Venice Vermont Vienna Vietnam Virginia Wales Warsaw Washington West_Virginia Wisconsin Wyoming Yemen
        Yugoslavia Zimbabwe Zurich UK US USA USSR UAE"""
    )
)

FIRST_NAMES = frozenset(
    words("""Adam Albert Alexander Alfred Alice Allen Andrew Ann Anna Anne Anthony Antonio Arthur Barbara Benjamin
        Bernard Betty Bill Bob Brian Bruce Carl Carlos Caroline Catherine Charles Charlie Charlotte Chris
        Christian Christopher Claude Craig Daniel David Dennis Diana Don Donald Dorothy Douglas Edgar Edward
        Edwin Elizabeth Ellen Emily Emma Eric Ernest Eugene Eva Francis Francisco Frank Franz Fred Frederick
        Friedrich Gary Geoffrey George Gerald Gilbert Giovanni Gordon Grace Graham Gregory Hans Harold Harry
        Heinrich Helen Henri Henry Herbert Howard Hugh Ian Isaac Jack Jacob Jacques James Jane Janet Jason
        Jean Jennifer Jerry Jesse Jim Jimmy Joan Joe Johann John Jonathan Jose José Joseph Joshua Juan Judith
        Julia Julian Julie Karen Karl Kate Katherine Keith Kelly Kenneth Kevin Larry Laura Lawrence Leo Leon
        Leonard Leslie Lewis Linda Lisa Louis Louise Lucy Luis Luke Margaret Maria Marie Mark Martha Martin
        Mary Matt Matthew Max Michael Michel Michelle Mike Nancy Nathan Nicholas Nick Nicola Norman Oliver
        Oscar Otto Patricia Patrick Paul Peter Philip Philippe Pierre Rachel Ralph Ray Raymond Rebecca Richard
        Rick Robert Robin Roger Ronald Rose Roy Russell Ruth Ryan Sally Sam Samuel Sandra Sarah Scott Sean
        Sebastian Sharon Simon Sophia Sophie Stanley Stephen Steve Steven Stuart Susan Theodore Theresa Thomas
        Tim Timothy Tom Tony Victor Victoria Vincent Walter Warren Wayne Wilhelm William""")
)

HONORIFICS = frozenset(
    words("""Mr Mrs Ms Dr Sir Lord Lady Prof Professor President Senator Governor General Colonel Captain Admiral
        King Queen Prince Princess Emperor Duke Count Pope Bishop Archbishop Cardinal Saint Chancellor Judge
        Justice Secretary Mayor Sultan Khan Minister Reverend Major Lieutenant Sergeant Baron Earl""")
)

HEADS = {
    "place": frozenset(
        words("""City County River Lake Street Avenue Road Island Islands Mountain Mountains Valley Bay Peninsula Park
        Province Sea Ocean Coast Desert Canyon Bridge Airport Station Square Hill Hills Beach Harbor Harbour
        Palace Castle Cathedral Tower Forest Creek District Region Territory Kingdom Empire Republic Town
        Village Canal Gulf Strait""")
    ),
    "organisation": frozenset(
        words("""University College Company Corporation Corp Inc Ltd Party Army Navy Church Association Committee
        Institute Ministry Council Agency Bank Club Union Museum School Department Records Press Society
        League Congress Parliament Court Foundation Commission Office Service Group Orchestra Academy
        Laboratory Laboratories Federation Organization Organisation Studios Pictures Entertainment
        Administration Bureau Senate Assembly Corps Airlines Railway Network Hospital Brothers Center Centre
        Authority Board""")
    ),
    "event": frozenset(
        words("""War Wars Battle Revolution Treaty Act Crisis Games Cup Olympics Championship Championships Festival
        Bowl Awards Award Rebellion Conference Siege Campaign Agreement Convention Declaration Movement
        Massacre Uprising Dynasty Renaissance Reformation Crusade Crusades Election Elections Earthquake
        Hurricane Expedition Tournament""")
    ),
}

# Endings of the names of illnesses and findings, for titles that name one.
CONDITION_HEADS = frozenset(
    words("""syndrome disease disorder disorders deficiency cancer tumor tumors leukemia lymphoma anemia dystrophy
        infection infections fever dysplasia palsy diabetes failure dementia epilepsy ataxia carcinoma defect
        defects attack stroke aciduria porphyria cataract glaucoma""")
)
CONDITION_ENDINGS = words(
    """itis osis oma emia aemia opathy plasia uria algia trophy iasis ectomy phobia rrhea cephaly dactyly
        plegia sclerosis omatosis megaly pathy philia penia"""
)

MONTHS = words("January February March April May June July August September October November December")
COUNTS = words("two three four five six seven eight nine ten eleven twelve")
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
ORDINALS = words("third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth")
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

# base/past of verbs that take an object; for "did not" where there is no auxiliary.
VERBS = {
    past: base
    for base, past in pairs(
        """accept/accepted achieve/achieved adopt/adopted affect/affected allow/allowed announce/announced
        appoint/appointed approve/approved attack/attacked attend/attended attract/attracted award/awarded
        ban/banned become/became begin/began bring/brought build/built buy/bought call/called capture/captured
        carry/carried cause/caused change/changed choose/chose claim/claimed complete/completed
        conquer/conquered contain/contained control/controlled create/created cross/crossed declare/declared
        defeat/defeated deliver/delivered demand/demanded describe/described design/designed destroy/destroyed
        develop/developed discover/discovered dominate/dominated draw/drew earn/earned elect/elected
        enter/entered establish/established examine/examined expand/expanded experience/experienced
        express/expressed face/faced favor/favored feature/featured find/found follow/followed force/forced
        form/formed gain/gained get/got give/gave grant/granted help/helped hire/hired hold/held
        identify/identified include/included increase/increased influence/influenced inspire/inspired
        introduce/introduced invade/invaded invent/invented issue/issued join/joined keep/kept kill/killed
        know/knew launch/launched lead/led leave/left lose/lost make/made marry/married mean/meant meet/met
        move/moved name/named need/needed occupy/occupied offer/offered open/opened oppose/opposed
        order/ordered own/owned pass/passed perform/performed place/placed play/played prefer/preferred
        present/presented prevent/prevented produce/produced promote/promoted propose/proposed
        protect/protected provide/provided publish/published purchase/purchased reach/reached receive/received
        recognize/recognized record/recorded reduce/reduced refuse/refused reject/rejected release/released
        remove/removed replace/replaced represent/represented require/required restore/restored
        retain/retained sell/sold send/sent serve/served share/shared show/showed sign/signed spend/spent
        start/started study/studied succeed/succeeded suffer/suffered support/supported take/took teach/taught
        tell/told unite/united use/used visit/visited want/wanted win/won write/wrote"""
    )
}
