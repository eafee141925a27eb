"""Makes tests/fixtures/train/dpo: preference pairs and what TRL's DPOTrainer computes from them.

    python tests/parity/make_dpo.py            (needs trl, peft and their requirements; make_train.py first)

The tiny llama of make_train.py with its adapter, F32, dropout 0, rows in file order, constant rate. Twice: `start` as
TRL goes on from an adapter that is there (the reference is that adapter as it was), and `base` with the base alone as
the reference, so that the first step's margins are not zero. Kept are losses, rewards and gradient norms of every step,
and every LoRA gradient of step 1, taken from the trainer between its backward pass and its clipping.
"""
import json
import os
import random
import sys
import tempfile

import torch
from datasets import Dataset
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

TRAIN = os.path.join(os.path.dirname(__file__), "..", "fixtures", "train")
OUT = os.path.join(TRAIN, "dpo")
BATCH, EPOCHS, LR, DECAY, CLIP, BETA = 4, 4, 5e-3, 0.01, 1.0, 0.3


def make_pairs():
    r = random.Random(3)
    word = lambda: "".join(r.choice("abcdefg ") for _ in range(r.randint(1, 9)))
    pairs = []
    for i in range(11):
        messages = [{"role": "user", "content": word()}]
        if i % 3 == 0:  # an earlier answer, which is context only
            messages += [{"role": "assistant", "content": word()}, {"role": "user", "content": word()}]
        start = "x" if i % 4 == 1 else ""  # some outputs begin alike
        pairs.append({"input": {"messages": messages},
                      "preferred_output": [{"role": "assistant", "content": start + "A" + word()}],
                      "non_preferred_output": [{"role": "assistant", "content": start + "B" + word()}]})
    return pairs


class Recorder(DPOTrainer):
    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        grads = {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None}
        if not self.seen["losses"]:
            self.grads = {"grad." + n.replace(".default", ""): g.clone().contiguous() for n, g in grads.items()}
        norm = torch.stack([g.double().pow(2).sum() for g in grads.values()]).sum().sqrt()
        self.seen["losses"].append(float(loss))
        self.seen["grad_norms"].append(float(norm))
        for ours, theirs in (("chosen", "chosen"), ("rejected", "rejected"), ("margins", "margins"),
                             ("accuracies", "accuracies")):
            self.seen[ours].append(self._metrics["train"]["rewards/" + theirs][-1])
        return loss


def run(pairs, reference):
    base = os.path.join(TRAIN, "llama")
    load = lambda: AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.eos_token
    model = PeftModel.from_pretrained(load(), os.path.join(base, "adapter"), is_trainable=True)
    rows = Dataset.from_list([{"prompt": p["input"]["messages"], "chosen": p["preferred_output"],
                               "rejected": p["non_preferred_output"]} for p in pairs])
    with tempfile.TemporaryDirectory() as work:
        args = DPOConfig(output_dir=work, per_device_train_batch_size=BATCH, num_train_epochs=EPOCHS,
                         learning_rate=LR, weight_decay=DECAY, max_grad_norm=CLIP, beta=BETA,
                         lr_scheduler_type="constant", warmup_steps=0, train_sampling_strategy="sequential",
                         optim="adamw_torch", adam_beta2=0.999, adam_epsilon=1e-8, logging_steps=1, max_length=None,
                         gradient_checkpointing=False, bf16=False, use_cpu=True, report_to="none",
                         save_strategy="no", dataloader_drop_last=False, disable_tqdm=True)
        trainer = Recorder(model=model, ref_model=load() if reference == "base" else None, args=args,
                           train_dataset=rows, processing_class=tokenizer)
        trainer.seen = {k: [] for k in ("losses", "grad_norms", "chosen", "rejected", "margins", "accuracies")}
        trainer.train()
    out = {k: torch.tensor(v, dtype=torch.float32) for k, v in trainer.seen.items()}
    return {**out, **trainer.grads}


def main():
    pairs = make_pairs()
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, "pairs.jsonl"), "w") as f:
        for p in pairs:
            f.write(json.dumps(p) + "\n")
    with open(os.path.join(OUT, "recipe.json"), "w") as f:
        json.dump({"batch": BATCH, "epochs": EPOCHS, "lr": LR, "decay": DECAY, "clip": CLIP, "beta": BETA}, f)
        f.write("\n")
    for reference in ("start", "base"):
        result = run(pairs, reference)
        save_file(result, os.path.join(OUT, reference + ".safetensors"))
        print(reference, [round(x, 6) for x in result["losses"].tolist()])


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
