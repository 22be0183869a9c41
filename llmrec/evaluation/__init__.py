"""Evaluation hides how recommenders are run over examples, and how what they say becomes figures.

``options`` says what is run, ``systems`` what is asked, ``running`` writes the run folder
(``predictions`` its lines).
"""
