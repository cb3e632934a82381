"""Response times of the live demo for one person, and for twenty at once."""

from __future__ import annotations

from rendering.cells import hardware, load, markdown


def app() -> str:
    """Latency for one person, then rates, errors and memory for many."""
    alone, crowd = load("app_latency")["results"], load("app_load")["results"]
    rows = [
        [name, f"{found['median']:.0f} ms", f"{max(found['values']):.0f} ms", str(found["n"])]
        for name, found in alone.items()
        if isinstance(found, dict)
    ]
    waits, memory = crowd["latency_s"], crowd["server_memory_mb"]
    counts = [
        ["requests answered", f"{crowd['num_requests']}, {crowd['requests_per_s']:.1f} in a second"],
        ["errors", f"{crowd['num_errors']}"],
        ["seconds of a request: median, 95%, 99%", f"{waits['p50']:.2f}, {waits['p95']:.2f}, {waits['p99']:.2f}"],
        ["server's memory before and after", f"{memory['before']:.0f} MB, {memory['after']:.0f} MB"],
        ["uploads left on disk 80 s later", f"{crowd['uploads_left_on_disk']}"],
    ]
    busy = f"{alone['load_average']:.1f} and {crowd['load_average_before_1_min']:.1f}"
    tables = [
        markdown("one person at a time | median | longest | n", "lrrr", rows),
        markdown(f"{crowd['num_clients']} people at once for {crowd['duration_s']:.0f} s |", "lr", counts),
    ]
    load_average = f"The load average before the two measurements was {busy}; idle is 0."
    return "\n\n".join([*tables, f"On {hardware(load('app_load'))}. {load_average}"])
