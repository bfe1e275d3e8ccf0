"""Judges, and the four benchmarks that are scored by one.

cases        what is put before a judge, what it says, and what a judge is
settings     how a language model is asked and read, how rewards decide
prompt       the words, own or published, and a case put into them
reading      from what it wrote to a verdict; what cannot be read is a failure, never a tie
cache        every answer of a judge, by content, in SQLite
language, reward     the judges: a language model (served or local), a reward model
hearing      all cases before a judge: failures listed and limited, repeats held against each other
alpaca_eval, arena_hard, wildbench, mt_bench     the cases of each benchmark, and its scores from the verdicts
result       what a judged score leaves behind: scores, key, items
"""
