"""Training on TRL.

settings                    what decides a training
frame, chat                 a conversation as token ids with its trained tokens, by any chat template
data, packing               rows to samples in a file, samples to packed sequences
check, packing_proof        what is proved before a training; `examine` and `show` are the `check` verb
fit, watch                  what all trainings share
distributed, processes, rank one training in many processes; `order` of the data on any number of them
stopping, checkpoints       ending a training early and going on with it
series, mfu                 its curves and its speed
sft, dpo, kto, cpo, orpo    the trainings; what those on pairs share is in `preference`
reward_model                a classifier of answers
adapter                     LoRA and its kin on any of them
memory, shape, fitting      what a training needs of a GPU, and what would make it fit
library                     the settings that TRL, peft and transformers have
"""
