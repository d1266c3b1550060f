"""The model as MLflow serves it: one file, no import of our own rooms, reading the bundle folder.

MLflow runs this file as it is (models-from-code). It is a second, small reading of the bundle
format, held to `Bundle.score` by a test; the project's own serving never goes this way. SciPy's
`expit` comes with LightGBM.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from scipy.special import expit


class BundleModel(PythonModel):
    """Feature columns in, one line of margin, probability, score, percentile, bucket out."""

    def load_context(self, context: Any) -> None:
        """Read the bundle folder that was logged beside this file."""
        folder = Path(context.artifacts["bundle"])
        self.calibrator = json.loads((folder / "calibrator.json").read_bytes())
        self.reference = json.loads((folder / "reference.json").read_bytes())
        described = json.loads((folder / "features.json").read_bytes())
        self.names = [feature["name"] for feature in described["features"]]
        self.booster = lightgbm.Booster(model_str=(folder / "model.txt").read_text("utf-8"))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Score a DataFrame that has the model's feature columns; null = null."""
        matrix = model_input[self.names].to_numpy(dtype=np.float64, na_value=np.nan)
        margin = np.asarray(self.booster.predict(matrix, raw_score=True, num_threads=1))
        probability = np.clip(self._probability(margin), 1e-6, 1 - 1e-6)
        score = 100.0 / (1.0 + self._odds(self._mean()) / self._odds(probability))
        bucket = np.searchsorted([25.0, 75.0], score, side="right")
        return pd.DataFrame(
            {
                "margin": margin,
                "probability": probability,
                "score": score,
                "percentile": self._percentile(margin),
                "bucket": np.array(["low", "medium", "high"])[bucket],
            }
        )

    def _probability(self, margin: Any) -> Any:
        curve = self.calibrator
        if curve["method"] != "isotonic":
            return expit(curve["slope"] * margin + curve["intercept"])
        knots, levels = np.array(curve["knots"]), np.array(curve["levels"])
        if len(knots) == 1:
            return np.full_like(margin, levels[0])
        inside = np.clip(margin, knots[0], knots[-1])
        left = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
        share = (inside - knots[left]) / (knots[left + 1] - knots[left])
        low, high = levels[left], levels[left + 1]
        return np.clip(low + share * (high - low), low, high)

    def _percentile(self, margin: Any) -> Any:
        margins = np.array(self.reference["margins"])
        ranks = np.searchsorted(margins, margin) + np.searchsorted(margins, margin, side="right")
        return np.clip(-(-ranks * 50 // len(margins)), 1, 100)

    def _mean(self) -> float:
        return float(np.clip(self.reference["mean_probability"], 1e-6, 1 - 1e-6))

    @staticmethod
    def _odds(probability: Any) -> Any:
        return probability / (1.0 - probability)


set_model(BundleModel())
