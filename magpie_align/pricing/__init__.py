"""What a recipe will cost, before anything runs: rows, tokens, hours, memory, disk, money. Imports nothing heavy.

span         a figure known only to lie between two others
resources    the machine that is priced, and what an hour of it costs
shapes       what a model's config.json says of its size
roofline     seconds of a generation or a training on ideal hardware
references   published measurements, and what share of the roofline they reach
facts        mean lengths and label shares that the paper states
memory       whether weights and KV cache fit, and what would
flowing      how many rows of what length go through the graph
work         what each kind of stage has to do with them
estimate     hours, money and disk of each stage
show         the tables of the verb `plan`
"""
