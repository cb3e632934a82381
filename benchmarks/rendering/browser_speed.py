"""Download, start and response times of the browser demo, and its differences to `firstlight predict`."""

from __future__ import annotations

from rendering.cells import hardware, load, markdown


def browser() -> str:
    """Size and seconds of a first visit, milliseconds of a picture, and the equality with `predict`."""
    found = load("browser")["results"]
    first = found["first_answer_s"]
    visits = [
        [
            "downloaded up to the first answer, without compression by the host",
            f"{found['first_answer_bytes'] / 1e6:.1f} MB",
        ],
        [
            f"seconds to the first answer: median, longest (n = {first['n']})",
            f"{first['median']:.1f}, {max(first['values']):.1f}",
        ],
    ]
    times = [
        [name, f"{each['median']:.0f} ms", f"{max(each['values']):.0f} ms", str(each["n"])]
        for name, each in found["milliseconds"].items()
    ]
    kinds = [[kind, str(each["n"]), f"{each['largest']:.1g}"] for kind, each in found["differences"].items()]
    tables = [
        markdown("first visit, over loopback |", "lr", visits),
        markdown("one picture with its map | median | longest | n", "lrrr", times),
        markdown("pictures | n | largest difference of a probability", "lrr", kinds),
    ]
    where = f"On {hardware(load('browser'))}, in Chromium {found['chromium'].split('.')[0]}, one thread."
    return "\n\n".join(
        [*tables, f"{where} The load average before the measurement was {found['load_average']:.1f}; idle is 0."]
    )
