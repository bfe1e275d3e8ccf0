"""What a recipe will cost, before anything runs: rows, tokens, hours, memory, disk, money. Imports nothing heavy.

span         a figure known only to lie between two others
resources    the machine that is priced, and what an hour of it costs
shapes       the config.json of a model that is not loaded
models       the configuration behind a model that a stage names
roofline     seconds of a generation or a training on ideal hardware
references   published measurements, and what share of the roofline they reach
facts        mean lengths and label shares that the paper states
assume       what a user knows of the data and the paper does not say
flowing      how many rows of what length go through the graph
work         what each kind of stage has to do with them
memory       whether weights and KV cache fit, and what would
training     the memory of a training
speed        GPU-seconds of the work on given resources
estimate     hours, money and disk of each stage
price        the resources chosen, what does not fit, what was predicted of stages that are done
probe        a short run of the engine here, in place of published measurements
show, verb   the tables of `plan`, and what a run leaves of its costs
"""
