"""Training on TRL.

settings                    what decides a training
frame, chat                 a conversation as token ids with its trained tokens, by any chat template
data, packing               rows to samples in a file, samples to packed sequences
check, packing_proof        what is proved before a training; `examine` and `show` are the `check` verb
fit, watch                  what all trainings share
distributed, processes, rank one training in many processes; `order` of the data on any number of them
stopping, checkpoints       ending a training early and going on with it
series, mfu                 its curves and its speed
sft, dpo, reward_model      the trainings
"""
