"""Milliseconds of a DP-SGD step of Opacus with ghost clipping, one thread, as one line of JSON.

Needs PyTorch and Opacus 1.6 from PyPI:
    python3 -m venv /tmp/opacus && /tmp/opacus/bin/pip install torch opacus==1.6.*
    KOSMOS_OPACUS_PYTHON=/tmp/opacus/bin/python npm run bench -- --only dp-step-opacus
"""

import json
import statistics
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import opacus
import torch
from opacus import PrivacyEngine
from torch import nn

WINDOWS = 4096
WARM_UP = 30
TURNS = 40
STEPS_A_TURN = 10


def network(sizes):
    layers = []
    for depth, (rows, columns) in enumerate(zip(sizes, sizes[1:])):
        layers.append(nn.Linear(rows, columns))
        if depth + 2 < len(sizes):
            layers.append(nn.ELU())
    return nn.Sequential(*layers)


def measure(sizes, batch):
    torch.manual_seed(1)
    model = network(sizes)
    features = torch.sin(torch.arange(WINDOWS * sizes[0], dtype=torch.float32) ** 2)
    features = features.reshape(WINDOWS, sizes[0])
    labels = (1 + features[:, :1]) / 2
    data = torch.utils.data.TensorDataset(features, labels)
    loader = torch.utils.data.DataLoader(data, batch_size=batch)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    model, optimiser, criterion, _ = PrivacyEngine().make_private(
        module=model,
        optimizer=optimiser,
        data_loader=loader,
        criterion=nn.MSELoss(),
        noise_multiplier=1.0,
        max_grad_norm=0.1,
        grad_sample_mode="ghost",
        poisson_sampling=False,
    )
    # Batches lie ready: what is measured is the step.
    batches = [(features[at : at + batch], labels[at : at + batch]) for at in range(0, WINDOWS, batch)]
    done = 0

    def step():
        nonlocal done
        inputs, wanted = batches[done % len(batches)]
        done += 1
        optimiser.zero_grad()
        loss = criterion(model(inputs), wanted)
        loss.backward()
        optimiser.step()

    for _ in range(WARM_UP):
        step()
    turns = []
    for _ in range(TURNS):
        started = time.process_time()
        for _ in range(STEPS_A_TURN):
            step()
        turns.append((time.process_time() - started) * 1000 / STEPS_A_TURN)
    return {"min": min(turns), "median": statistics.median(turns), "max": max(turns)}


def main():
    torch.set_num_threads(1)
    cases = json.loads(sys.argv[1])
    results = [measure(case["sizes"], case["batch"]) for case in cases]
    versions = {"torch": torch.__version__, "opacus": opacus.__version__}
    print(json.dumps({"versions": versions, "steps": results}))


main()
