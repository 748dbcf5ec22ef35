#!/usr/bin/env python3
"""Make what scikit-learn says of logistic regressions: weights, biases, objectives, probabilities.

    pip install scikit-learn==1.9.1 numpy==2.4.6
    python make.py             # rewrites sklearn.json
    python make.py --verify    # writes nothing; fails where a number differs

Sixty images of eight features, which are of different scales, far from zero, and one of them the same in all; of three classes that
overlap. `LogisticRegression` of two classes penalises one row of weights, `w`, where the softmax of two rows has `w / 2` and
`-w / 2`: its `C` is twice that of the softmax.
"""
import argparse
import json
import pathlib
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression

FILE = pathlib.Path(__file__).resolve().parent / "sklearn.json"


def features():
    random = np.random.default_rng(7)
    classes = np.arange(60) % 3
    middle = random.normal(size=(3, 8))
    x = middle[classes] + 1.5 * random.normal(size=(60, 8))
    x = x * [1, 0.1, 3, 1, 0.5, 2, 1, 0] + [0, 5, -20, 1, 0, 0, 3, 2]
    # What f32 holds exactly.
    return np.round(x * 64) / 64, classes


def case(x, y, c):
    count = y.max() + 1
    own = c if count > 2 else 2 * c
    model = LogisticRegression(C=own, tol=1e-12, max_iter=100_000, solver="newton-cholesky").fit(x, y)
    weight, bias = model.coef_, model.intercept_
    if count == 2:
        weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    bias = bias - bias.mean()
    scores = x @ weight.T + bias
    losses = np.log(np.exp(scores).sum(1)) - scores[np.arange(len(y)), y]
    gradient = -(np.eye(count)[y] - model.predict_proba(x)).T @ x * c + weight
    assert np.abs(gradient).max() < 1e-7 * max(c, 1), gradient
    return {
        "c": c,
        "classes": int(count),
        "weight": weight.round(10).tolist(),
        "bias": bias.round(10).tolist(),
        "objective": round(float(c * losses.sum() + (weight**2).sum() / 2), 8),
        "probabilities": model.predict_proba(x[:9]).round(10).tolist(),
    }


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--verify", action="store_true")
    verify = options.parse_args().verify
    x, y = features()
    cases = [case(x, y, c) for c in (0.01, 1.0, 100.0)]
    # The images of the first two classes alone.
    cases.append(case(x[y < 2], y[y < 2], 1.0))
    found = {"features": x.tolist(), "cases": cases}
    if not verify:
        text = json.dumps(found).replace('{"c"', '\n{"c"').replace("], [", "],\n[")
        FILE.write_text(text + "\n")
        return
    known = json.loads(FILE.read_text())
    for a, b in zip(known["cases"], cases, strict=True):
        for name in b:
            if not np.allclose(a[name], b[name], rtol=1e-6, atol=1e-7):
                sys.exit(f"{name} of C = {b['c']} differs: {a[name]}, {b[name]}")
    assert known["features"] == found["features"]


if __name__ == "__main__":
    main()
