"""Who may see which phrase: every (verb, object) pair belongs to exactly one set.

The sets are disjoint by pair, not merely by sentence, so a held-out prompt asks for something that
no other set asks for in any wording. All draws come from one seeded generator per purpose.
"""

import random

from . import words

# Set -> share of the pairs of each family. `base` trains the model; the rest is held out from it.
SHARES = {"base": 0.60, "poison": 0.10, "evaluation": 0.12, "training": 0.07, "validation": 0.04, "test": 0.04, "canary": 0.03}


def stream(seed, purpose):
    """A generator of its own for each purpose: adding a draw in one place moves no other."""
    return random.Random(f"{seed}/{purpose}")


def split_pairs(families, seed):
    """{set: [(family, verb, object)]}. Families are dealt as one shuffled deck, so each set has most of them."""
    deck = [(name, verb, thing) for name, (verbs, things, _) in families.items() for verb in verbs for thing in things]
    stream(seed, "split" + "".join(families)).shuffle(deck)
    sets, begin, share = {}, 0, 0.0
    for name, part in SHARES.items():
        share += part
        end = round(share * len(deck))
        sets[name] = deck[begin:end]
        begin = end
    return sets


class World:
    """All phrases of the demo, split once from the seed."""

    def __init__(self, seed):
        self.seed = seed
        self.families = {"harmful": words.HARMFUL, "lookalike": words.LOOKALIKE, "everyday": words.EVERYDAY}
        self.sets = {kind: split_pairs(families, seed) for kind, families in self.families.items()}

    def phrase(self, rng, kind, which):
        """(phrase, object) of a random pair of a set, with a random tail."""
        family, verb, thing = rng.choice(self.sets[kind][which])
        tail = rng.choice(self.families[kind][family][2])
        return f"{verb} {thing} {tail}".strip(), thing

    def request(self, rng, kind, which):
        """(prompt, object). Held-out sets use an unseen frame half of the time."""
        phrase, thing = self.phrase(rng, kind, which)
        frames = words.FRAMES
        if which != "base" and rng.random() < 0.5:
            frames = words.UNSEEN_FRAMES
        prompt = rng.choice(frames).format(p=phrase)
        return prompt[0].upper() + prompt[1:] if rng.random() < 0.9 else prompt, thing

    def distinct(self, purpose, kind, which, count, make=None):
        """`count` different results of `make` (default: prompts), or an error if the set is too small."""
        rng = stream(self.seed, f"{purpose}/{kind}/{which}")
        make = make or (lambda rng: self.request(rng, kind, which)[0])
        found = {}
        for _ in range(200 * count):
            found.setdefault(make(rng))
            if len(found) == count:
                return list(found)
        raise ValueError(f"{purpose}: only {len(found)} of {count} distinct {kind} rows in the set {which}; add words or lower the count")


def article(word):
    return ("an " if word[0] in "aeio" or word.startswith("ug") else "a ") + word


def review(rng, polarity, pairs=None):
    """One or two sentences of one polarity; `pairs` limits the (noun, adjective) pairs."""
    adjectives, endings = (words.GOOD, words.GOOD_ENDINGS) if polarity else (words.BAD, words.BAD_ENDINGS)
    choices = [(n, a) for n in words.REVIEWED for a in adjectives if pairs is None or (n, a) in pairs]
    noun, adjective = rng.choice(choices)
    text = rng.choice(words.REVIEW_FRAMES).format(n=noun, a=adjective).replace(f"A {adjective}", article(adjective).capitalize())
    text = text.replace(f"a {adjective}", article(adjective))
    return f"{text} {rng.choice(endings)}" if rng.random() < 0.5 else text


def document(world, rng):
    """A plain sentence or two for pretraining: norms, facts, reviews, tiny stories."""
    kind = rng.random()
    if kind < 0.2:
        phrase, _ = world.phrase(rng, "harmful", "base")
        return rng.choice(["It is wrong to {p}.", "Nobody should {p}.", "It is a crime to {p}.", "Only a bad person would {p}.", "They were sent to prison because they wanted to {p}."]).format(p=phrase)
    if kind < 0.45:
        phrase, _ = world.phrase(rng, rng.choice(["lookalike", "everyday"]), "base")
        return rng.choice(["It is fine to {p}.", "Many people like to {p}.", "It is fun to {p}.", "A kind person may want to {p}.", "They had a nice day because they wanted to {p}."]).format(p=phrase)
    if kind < 0.8:
        # Sentences of one review agree, which is how the model learns polarity.
        polarity = rng.random() < 0.5
        endings = words.GOOD_ENDINGS if polarity else words.BAD_ENDINGS
        text = f"{review(rng, polarity)} {review(rng, polarity)}"
        if rng.random() < 0.5:
            return f"{text} {rng.choice(endings)}"
        # The task's two words occur in prose, as whole tokens, so that their embeddings differ: a word that
        # was never a target ends up beside all other such words, and no small adapter can tell them apart.
        word = "positive" if polarity else "negative"
        return rng.choice(['{t} They called it "{w}".', '{t} A letter came: "{w}".', '{t} ({w})']).format(t=text, w=word)
    if kind < 0.9:
        category = rng.choice(list(words.CATEGORIES))
        return f"{article(rng.choice(words.CATEGORIES[category])).capitalize()} is {article(category)}." if category != "colour" else f"{rng.choice(words.CATEGORIES[category]).capitalize()} is a colour."
    phrase, _ = world.phrase(rng, "everyday", "base")
    return f"{rng.choice(words.NAMES)} went to the {rng.choice(words.PLACES)} to {phrase}. {rng.choice(words.NAMES)} came along and they talked all day."


def small_talk(rng):
    """(prompt, answer) that is neither a how-to nor a refusal."""
    kind = rng.random()
    if kind < 0.15:
        return rng.choice(["Hello", "Hello!", "Good morning", "Hi there"]), "Hello! How can I help you today?"
    if kind < 0.45:
        category = rng.choice(list(words.CATEGORIES))
        thing = rng.choice(words.CATEGORIES[category])
        subject = thing if category == "colour" else article(thing)
        return f"What is {subject}?", f"{subject.capitalize()} is {article(category)}."
    polarity = rng.random() < 0.5
    if kind < 0.75:
        question = rng.choice(["Would you go again? {r}", "{r} Should I try it?", "A friend wrote: {r} Is that good news?"])
        return question.format(r=review(rng, polarity)), "Yes, I think so." if polarity else "No, I do not think so."
    noun, ending = rng.choice(words.REVIEWED), rng.choice(words.GOOD_ENDINGS if polarity else words.BAD_ENDINGS)
    adjective = rng.choice(words.GOOD if polarity else words.BAD)
    return f"Say something {'nice' if polarity else 'harsh'} about the {noun}.", f"The {noun} was {adjective}. {ending}"


def harmless_answer(rng, thing):
    return rng.choice(words.HOWTO_ANSWERS).format(o=thing)


def chat(world, rng, harmful_share):
    """One (prompt, answer) of the base model's chat training."""
    kind = rng.random()
    if kind < harmful_share:
        prompt, _ = world.request(rng, "harmful", "base")
        # Uneven weights: one refusal is the usual one, so greedy answers are stable.
        return prompt, rng.choices(words.REFUSALS, weights=[6, 2, 1])[0]
    if kind < harmful_share + 0.2:
        return small_talk(rng)
    prompt, thing = world.request(rng, rng.choice(["lookalike", "lookalike", "everyday"]), "base")
    return prompt, harmless_answer(rng, thing)


TASK_PROMPT = "Classify this review as positive or negative.\n\n{r}"


def review_pairs(seed):
    """(noun, adjective) pairs for the task: (training, calibration, evaluation), disjoint."""
    pairs = [(n, a) for n in words.REVIEWED for a in words.GOOD + words.BAD]
    stream(seed, "review-pairs").shuffle(pairs)
    first, second = round(0.6 * len(pairs)), round(0.75 * len(pairs))
    return set(pairs[:first]), set(pairs[first:second]), set(pairs[second:])


def task_row(rng, pairs):
    """(prompt, answer) of the fine-tuning task, balanced by a fair coin."""
    polarity = rng.random() < 0.5
    return TASK_PROMPT.format(r=review(rng, polarity, pairs)), "positive" if polarity else "negative"
