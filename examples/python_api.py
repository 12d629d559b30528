"""Mine, look, train and evaluate from Python: python examples/python_api.py DATA OUT"""

import sys
from pathlib import Path

import foils
from foils.adapters.models import load_encoder
from foils.evaluate import evaluate_all
from foils.examples import examples
from foils.terminal import console
from foils.train import TrainOptions, TrainSpec, train

source, out = sys.argv[1], Path(sys.argv[2])
data = foils.load(source)
student = load_encoder("static")

# A pipeline is a value: what it prints can be read back, in Python, YAML and the shell.
pipeline = foils.parse("Dense('student', k=50) >> PositiveAware(margin=0.05) >> Top(k=4)")
negatives = foils.mine(data, pipeline, encoders={"student": student}, out=out / "negatives")
print(negatives)

for example in examples(negatives, data, count=2):
    print(f"\n{example.text}\n  + {example.positives[0].text[:70]}")
    for seen in example.negatives[:2]:
        print(f"  - {seen.text[:70]}  {seen.scores}")

# Another choice from the same candidates needs no search and no encoding.
tiers = foils.mine(
    data,
    f"Load('{negatives.path}', which='all') >> (Ranks(hi=10, by='student') >> Uniform(k=2))"
    " + (Ranks(lo=11, by='student') >> Uniform(k=2))",
    out=out / "tiers",
)
print(tiers)

run = train(
    data,
    TrainSpec(negatives=negatives.kept(data)),
    "static",
    out=out / "run",
    options=TrainOptions(epochs=2),
)
print(run)

console().print(evaluate_all(data, {"start": student, "trained": run.model}, baseline="start"))
