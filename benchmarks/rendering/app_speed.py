"""Response times of the live demo for one person, for twenty at once, and for twenty beside an attacker."""

from __future__ import annotations

from typing import Any

from rendering.cells import hardware, load, markdown


def app() -> str:
    """Latency for one person, then rates, errors and memory for many, without and with an attacker."""
    return "\n\n".join([_one_person(), _many_people()])


def _one_person() -> str:
    alone = load("app_latency")["results"]
    rows = [
        [name, f"{found['median']:.0f} ms", f"{max(found['values']):.0f} ms", str(found["n"])]
        for name, found in alone.items()
        if isinstance(found, dict)
    ]
    table = markdown("one person at a time | median | longest | n", "lrrr", rows)
    return f"{table}\n\n{_machine(load('app_latency'), alone['load_average'])}"


def _many_people() -> str:
    quiet, attacked = load("app_load"), load("app_load_attacked")
    found = [quiet["results"], attacked["results"]]
    rows = [
        ["requests answered", *(f"{each['num_requests']}, {each['requests_per_s']:.1f} in a second" for each in found)],
        ["errors", *(f"{each['num_errors']}" for each in found)],
        ["seconds of a request: median, 95%, 99%", *(_waits(each["latency_s"]) for each in found)],
        ["server's memory before and after", *(_memory(each["server_memory_mb"]) for each in found)],
        ["uploads left on disk 80 s later", *(f"{each['uploads_left_on_disk']}" for each in found)],
    ]
    headings = (
        f"{found[0]['num_clients']} people at once for {found[0]['duration_s']:.0f} s | alone | beside an attacker"
    )
    table = markdown(headings, "lrr", rows)
    return f"{table}\n\n{_machine(attacked, found[0]['load_average_before_1_min'])}"


def _waits(seconds: dict[str, float]) -> str:
    return f"{seconds['p50']:.2f}, {seconds['p95']:.2f}, {seconds['p99']:.2f}"


def _memory(megabytes: dict[str, float]) -> str:
    return f"{megabytes['before']:.0f} MB, {megabytes['after']:.0f} MB"


def _machine(result: dict[str, Any], load_average: float) -> str:
    return f"On {hardware(result)}. The load average before the measurement was {load_average:.1f}; idle is 0."
