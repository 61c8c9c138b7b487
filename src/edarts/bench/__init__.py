"""`edarts bench`: the steps of searching and training, timed against the textbook formulation.

`driver.bench` runs a group of comparisons and returns a typed report, `text.text` prints it.
"""
