"""Fine-tune a classifier: a thin layer over `transformers.Trainer` and `peft`."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from expnet.errors import InputError, RationaleError, require_extra
from expnet.rationales import Record
from expnet.runtime.ambient import torch_defaults
from expnet.text.words import Span, words_of_tokens

if TYPE_CHECKING:
    from transformers import BatchEncoding, EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase

FIGURES = ("accuracy", "macro_f1", "mcc")
logger = logging.getLogger("expnet")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    """How a classifier is fine-tuned.

    `warmup` is a share of all steps. `lora_rank` 0 trains every weight; `lora_pooler` says whether an adapter reaches
    the pooling layer, too. `bf16` computes in bfloat16 and keeps the weights in float32. `select_by` names the figure
    that chooses the epoch: accuracy, macro_f1 or mcc. `mask_robust` is the share of training texts with masked words:
    other texts in each epoch, and in each of them any share of its words, at random. The classifier then learns to read
    texts from which words were removed, so that faithfulness does not measure its surprise (Madsen et al. 2024, arXiv
    2310.07819, with 0.5). Development texts stay whole.
    """

    epochs: float = 3.0
    learning_rate: float = 5e-5
    batch_size: int = 32
    max_length: int = 128
    warmup: float = 0.06
    weight_decay: float = 0.01
    lora_rank: int = 0
    lora_pooler: bool = True
    bf16: bool = False
    select_by: str = "accuracy"
    seed: int = 0
    mask_robust: float = 0.0


@torch_defaults()
def finetune(
    base: str | Path,
    train: Sequence[Record],
    dev: Sequence[Record],
    output: str | Path,
    config: FinetuneConfig,
    *,
    label_names: dict[str, str] | None = None,
    resume: bool = False,
    revision: str | None = None,
) -> dict[str, float]:
    """Fine-tune a sequence classifier and save the epoch that is best on the development split.

    Writes a model folder (with `lora_rank`, a PEFT adapter folder, or the merged model if the base lacks weights that
    an adapter does not hold, such as a pooler's), its tokenizer and `finetune.json` with the configuration, the sizes
    of the splits and the figures. Texts are cut to `max_length` tokens; how many is logged and written there, too.
    Checkpoints lie in `output/checkpoints`.

    Args:
        base: Folder or hub id of the pretrained model.
        train: Labelled records; rationales are not used.
        dev: Labelled records that choose the epoch and give the figures.
        output: The folder to write.
        config: Hyper-parameters.
        label_names: Names for the label values of the data, such as {"0": "negative"}.
        resume: Resume from the last checkpoint in `output`.
        revision: Commit, tag or branch of the pretrained model on the hub.

    Returns:
        Accuracy, macro-F1 and Matthews correlation on `dev`.

    Raises:
        ModelError: If the base model cannot be loaded, or only from a pickle or with foreign code.
        RationaleError: If a record has no label, or `dev` has a label that `train` lacks.
        InputError: If two label values get the same name, there is no such figure to select by, `mask_robust` is not a
            share, or words are to be masked with a tokenizer that has no mask token.
    """
    for package in ("accelerate", "peft", "sklearn"):
        require_extra(package, "train")
    from transformers import DataCollatorWithPadding, Trainer

    from expnet.model.adapters import savable
    from expnet.model.loading import load_tokenizer

    if config.select_by not in FIGURES:
        raise InputError(f"Cannot select by {config.select_by!r}; expected one of {', '.join(FIGURES)}.")
    if not 0 <= config.mask_robust <= 1:
        raise InputError(f"Expected a share of the training texts, 0 to 1, got mask_robust={config.mask_robust}.")
    labels = _labels(train, dev)
    names = [(label_names or {}).get(label, label) for label in labels]
    if len(set(names)) < len(names):
        raise InputError(f"The labels {labels} get the names {names}; each needs a name of its own.")
    tokenizer = load_tokenizer(str(base), revision)
    model, drawn = _build(base, revision, names, config)
    (train_rows, train_cut), (dev_rows, dev_cut) = (
        _rows(records, labels, tokenizer, config.max_length) for records in (train, dev)
    )
    if train_cut or dev_cut:
        logger.warning(
            "%d training and %d development texts were cut to %d tokens.", train_cut, dev_cut, config.max_length
        )
    output = Path(output)
    trainer = Trainer(
        model=model,
        args=_arguments(output / "checkpoints", config),
        train_dataset=_masked(train_rows, train, tokenizer, config) if config.mask_robust else train_rows,
        eval_dataset=dev_rows,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_compute_metrics,
    )
    trainer.train(resume_from_checkpoint=resume or None)
    evaluated = trainer.evaluate()
    reached = {name: evaluated[f"eval_{name}"] for name in FIGURES}
    model = savable(model, drawn)
    model.save_pretrained(output)  # not Trainer.save_model, which adds a pickle of its arguments
    model.config.save_pretrained(output)  # an adapter's folder would lack the names of the classes
    tokenizer.save_pretrained(output)
    report = {"base": Path(base).name, "train": len(train), "dev": len(dev), "labels": labels}
    report |= {"truncated": {"train": train_cut, "dev": dev_cut}, "config": asdict(config), "dev_figures": reached}
    (output / "finetune.json").write_text(json.dumps(report, indent=2) + "\n")
    return reached


def _labels(train: Sequence[Record], dev: Sequence[Record]) -> list[str]:
    for name, records in (("training", train), ("development", dev)):
        missing = sum(record.label is None for record in records)
        if missing or not records:
            raise RationaleError(f"The {name} split has {len(records)} records, {missing} of them without a label.")
    labels = sorted({str(record.label) for record in train})
    if unknown := {str(record.label) for record in dev} - set(labels):
        raise RationaleError(f"The development split has labels that training lacks: {sorted(unknown)}.")
    return labels


def _build(
    base: str | Path, revision: str | None, names: list[str], config: FinetuneConfig
) -> tuple["PreTrainedModel", set[str]]:
    """Return the model to be trained, and the names of the weights that the base lacks, which were drawn."""
    import torch
    from transformers import set_seed

    from expnet.model.files import safe_config
    from expnet.model.loading import load_weights

    settings = safe_config(str(base), revision)
    settings.id2label, settings.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    set_seed(config.seed)  # the head is initialised here, before the Trainer seeds
    model, missing, mismatched = load_weights(str(base), revision, settings, torch.float32)
    drawn = missing | {name for name, _, _ in mismatched}
    if not config.lora_rank:
        return model, drawn
    from peft import LoraConfig, TaskType, get_peft_model

    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        target_modules="all-linear",
        exclude_modules=None if config.lora_pooler else r".*pooler.*",
    )
    adapted: PreTrainedModel = get_peft_model(model, lora)  # type: ignore[assignment]  # it stands in for the model
    return adapted, drawn


def _arguments(folder: Path, config: FinetuneConfig) -> Any:
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=4 * config.batch_size,
        warmup_steps=config.warmup,  # below 1 it is a share of all steps
        weight_decay=config.weight_decay,
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model=config.select_by,
        logging_steps=200,
        bf16=config.bf16,
        use_cpu=not torch.accelerator.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to="none",
        seed=config.seed,
    )


def _rows(
    records: Sequence[Record], labels: list[str], tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> tuple[list[dict[str, Any]], int]:
    """Return what the Trainer reads, and how many texts were cut."""
    whole, encoded = _tokenized(records, tokenizer)["input_ids"], _tokenized(records, tokenizer, max_length)
    index = {label: i for i, label in enumerate(labels)}
    rows = [
        {**{name: values[i] for name, values in encoded.items()}, "labels": index[str(record.label)]}
        for i, record in enumerate(records)
    ]
    return rows, sum(len(ids) > max_length for ids in whole)


def _tokenized(
    records: Sequence[Record], tokenizer: "PreTrainedTokenizerBase", max_length: int | None = None
) -> "BatchEncoding":
    """Tokenize texts, and cut them if there is a limit."""
    paired = any(record.text.pair is not None for record in records)
    texts = [record.text.text for record in records]
    pairs = [record.text.pair or "" for record in records] if paired else None
    cut = max_length is not None
    encoded: BatchEncoding = tokenizer(texts, pairs, verbose=False, truncation=cut, max_length=max_length)
    return encoded


class MaskedRows:
    """What the Trainer reads, with words masked in some of the texts; which ones follows from seed and epoch alone.

    Args:
        rows: One for each text.
        words: For each text, the positions of the tokens of each of its words.
        mask_id: Id of the mask token.
        share: Share of the texts that have words masked.
        seed: Of the draws.
    """

    def __init__(
        self,
        rows: Sequence[dict[str, Any]],
        words: Sequence[Sequence[Sequence[int]]],
        *,
        mask_id: int,
        share: float,
        seed: int,
    ) -> None:
        self.rows, self.words, self.mask_id, self.share, self.seed = rows, words, mask_id, share, seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw texts and words; called at the start of each epoch, also of one in which training resumes."""
        generator = np.random.default_rng((self.seed, epoch))
        self._current = list(self.rows)
        for place in generator.permutation(len(self.rows))[: round(self.share * len(self.rows))]:
            hidden = generator.random(len(self.words[place])) < generator.random()
            ids = list(self.rows[place]["input_ids"])
            for number in np.flatnonzero(hidden).tolist():
                for position in self.words[place][number]:
                    ids[position] = self.mask_id
            self._current[place] = self.rows[place] | {"input_ids": ids}

    def __len__(self) -> int:
        return len(self._current)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return self._current[place]


def _masked(
    rows: list[dict[str, Any]], records: Sequence[Record], tokenizer: "PreTrainedTokenizerBase", config: FinetuneConfig
) -> MaskedRows:
    if tokenizer.mask_token_id is None or not tokenizer.is_fast:
        raise InputError(
            "To mask words, the tokenizer must have a mask token and say which characters a token covers; this one "
            "does not. Fine-tune another base, or leave mask_robust at 0."
        )
    words = []
    for record, tokens in zip(records, _tokenized(records, tokenizer, config.max_length).encodings or (), strict=True):
        spans = [Span(*edges, part or 0) for edges, part in zip(tokens.offsets, tokens.sequence_ids, strict=True)]
        tokens_of: list[list[int]] = [[] for _ in record.text.words]
        special = [bool(flag) for flag in tokens.special_tokens_mask]
        for position, covered in enumerate(words_of_tokens(spans, record.text.words, special)):
            for word in range(*covered):
                tokens_of[word].append(position)
        words.append(tokens_of)
    return MaskedRows(rows, words, mask_id=tokenizer.mask_token_id, share=config.mask_robust, seed=config.seed)


def _compute_metrics(evaluated: "EvalPrediction") -> dict[str, float]:
    logits, expected = np.asarray(evaluated.predictions), np.asarray(evaluated.label_ids)
    return figures(expected.tolist(), logits.argmax(-1).tolist())


def figures(expected: Sequence[Any], predicted: Sequence[Any]) -> dict[str, float]:
    """Return accuracy, macro-F1 and Matthews correlation of predicted classes."""
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    return {
        "accuracy": float(accuracy_score(expected, predicted)),
        "macro_f1": float(f1_score(expected, predicted, average="macro")),
        "mcc": float(matthews_corrcoef(expected, predicted)),
    }
