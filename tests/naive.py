"""The examples, made slowly and obviously, one after the other."""


def naive_examples(ratings, max_context_length, min_sequence_length, min_rating):
    """Returns a list of dicts by user and time, from rows of user, movie, stars, time."""
    history = {}
    for user, movie, stars, time in ratings:
        if stars >= min_rating:
            history.setdefault(user, []).append((time, movie))
    examples = []
    for user in sorted(history):
        in_order = sorted(history[user], key=lambda watched: watched[0])
        movies = [movie for _, movie in in_order]
        for i in range(1, len(movies) if len(movies) >= min_sequence_length else 0):
            context = movies[max(0, i - max_context_length) : i]
            context = [0] * (max_context_length - len(context)) + context
            example = {"user": user, "context": context, "label": movies[i]}
            examples.append({**example, "is_last": i == len(movies) - 1})
    return examples
