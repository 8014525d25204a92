"""A model on paper of data-parallel training on many cards: how much of the time they compute.

Measured parts come from benchmarks of this repository, the rest is assumed and may be changed by a flag. Nothing of it
was run on cards.

    python3 tests/network/cards.py
"""

import argparse

# Measured.
BOOKKEEPING = 58e-3 / 42e6  # s per adapter value: update, norm, sums (two cores of a Zen 3)
LINK_SHARE = 0.65  # of a link's rate that an exchange reaches (speed.py, 20 MB at 100 Mbit/s)
RING = 1.01  # of a ring's bytes that a rank sends (speed.py)
POLICY = 45e-6  # s per sample: probe at width 4,096 (`host policy bench`); anchored needs a hundredth of it


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=float, default=41.9e6, help="of the adapter (Llama 3.1 8B, rank 16)")
    parser.add_argument("--operations", type=float, default=32e9, help="of a token, forward and backward")
    parser.add_argument("--tokens", type=float, default=4096, help="of a card in a step")
    parser.add_argument("--samples", type=float, default=8, help="of a card in a step")
    parser.add_argument("--card", type=float, default=0.2 * 990e12, help="operations per second that a card reaches")
    parser.add_argument("--copies", type=float, default=25e9, help="bytes per second between card and host")
    parser.add_argument("--latency", type=float, default=20e-6, help="s per message")
    options = parser.parse_args()
    compute = options.operations * options.tokens / options.card
    gradient = 4 * options.values
    host = 2 * gradient / options.copies + BOOKKEEPING * options.values
    print("| cards | link of a card | computing | host | exchange | policy | computing / all |")
    print("|---|---|---|---|---|---|---|")
    for cards, rate, link in [
        (8, 4 / LINK_SHARE, "memory of the machine, 4 GB/s"),
        (64, 400 / 8 / 8, "an eighth of 400 Gbit/s"),
        (64, 100 / 8 / 8, "an eighth of 100 Gbit/s"),
        (512, 400 / 8 / 8, "an eighth of 400 Gbit/s"),
        (512, 100 / 8 / 8, "an eighth of 100 Gbit/s"),
    ]:
        sent = RING * 2 * (cards - 1) / cards * gradient
        exchange = sent / (LINK_SHARE * rate * 1e9) + 2 * (cards - 1) * options.latency
        policy = POLICY * options.samples * cards
        share = compute / (compute + host + exchange + policy)
        milliseconds = " | ".join(f"{1e3 * part:.0f} ms" for part in (compute, host, exchange, policy))
        print(f"| {cards} | {link} | {milliseconds} | {share:.0%} |")


if __name__ == "__main__":
    main()
