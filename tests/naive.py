"""The examples and the rankings, made slowly and obviously, one after the other."""


def naive_examples(ratings, max_context_length, min_sequence_length, min_rating):
    """Makes the examples with a loop over the ratings and another over each user.

    Args:
        ratings: array of shape `(ratings, 4)`: user, movie, stars, time; in any order.

    Returns:
        list of dicts with a `context`, padded in front, a `label`, and `is_last`;
        ordered by user, then by time.
    """
    history = {}
    for user, movie, rating, timestamp in ratings:
        if rating >= min_rating:
            watched = {"movie": int(movie), "timestamp": timestamp}
            history.setdefault(user, []).append(watched)
    examples = []
    for user in sorted(history):
        if len(history[user]) < min_sequence_length:
            continue
        in_order = sorted(history[user], key=lambda watched: watched["timestamp"])
        movies = [watched["movie"] for watched in in_order]
        for i in range(1, len(movies)):
            context = movies[max(0, i - max_context_length) : i]
            padding = [0] * (max_context_length - len(context))
            examples.append(
                {
                    "user": int(user),
                    "context": padding + context,
                    "label": movies[i],
                    "is_last": i == len(movies) - 1,
                }
            )
    return examples
