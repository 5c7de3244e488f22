"""How well can a learner fit what cannot be learned?

prepare -> datasets.load -> corruptions.<name> -> pipeline -> train.train_step
-> evaluate -> runs.Run -> metrics.jsonl
"""
