"""Measures how well image classifiers fit labels and pixels without structure.

prepare -> pipeline.datasets.load -> corruptions.<name> -> pipeline
-> train_step.train_step -> evaluate.evaluate -> storage.runs.Run
-> metrics.jsonl -> report
"""
