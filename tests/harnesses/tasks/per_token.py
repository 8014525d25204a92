"""Choices by ln p per token."""


def process_results(doc, results):
    opening, *answers = [log_prob for log_prob, _ in results]
    means = [(one - opening) / length for one, length in zip(answers, doc["lengths"])]
    return {"acc_per_token": float(means.index(max(means)) == doc["gold"] - 1)}
