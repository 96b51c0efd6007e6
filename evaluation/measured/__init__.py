"""The rows of a role and what each system says of them: fitted rankers, or files of scores; then all their metrics.

scored_log, row_keys         what happened in each row, and by which request and item it is known
ranker_scores, score_file    what a ranker, or any production system, says of these rows
measuring                    both on one path: measure_ranker, measure_scores
"""
