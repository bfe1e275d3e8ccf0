"""Training on TRL: `settings`, `data` (rows to what trainers take), `fit` (what all share), `sft`, `dpo`, `reward_model`."""
