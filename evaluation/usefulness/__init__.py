"""Usefulness: how the hashtags that systems answer are graded, by posts with graded hashtags.

`panel` reads the posts and their grades, `matching` folds hashtags, `scoring` sums the grades,
`baselines` answers by simple rules, `study` joins them, and `command` prints the result.
"""
