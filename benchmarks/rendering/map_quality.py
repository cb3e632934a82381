"""The speed of Grad-CAM, and the faithfulness of the maps of each method."""

from __future__ import annotations

from rendering.cells import hardware, load, markdown

CONTESTANTS = {
    "ours fp32": "firstlight, float32: the predicted class, found in the same pass",
    "captum, predicted": "captum, float32: the predicted class, after a pass that finds it",
    "captum": "captum, float32: a class that is known beforehand",
    "captum, our convolutions": "captum, float32: the same with our convolutions",
    "ours bf16": "firstlight, bfloat16: the predicted class",
}
MEASURES = ("deletion", "insertion", "energy_inside", "pointing", "randomization")
LOWER_IS_BETTER = ("deletion", "randomization")
SHOWN_STAGES = ("layer1", "residual3", "all")  # the page names the JSON, which has every stage


def explain_speed() -> str:
    """Grad-CAM maps per second at the last stage, here and in captum."""
    rows = []
    for entry in (load("explain_speed_fp32"), load("explain_speed")):
        rates = entry["results"]["images_per_s"]
        rows += [
            [what, f"{rates[name]['median']:.0f}", str(rates[name]["n"]), hardware(entry)]
            for name, what in CONTESTANTS.items()
            if name in rates
        ]
    return markdown("Grad-CAM at `residual3` | images/s, median | n | hardware", "lrrl", rows)


def trust(name: str) -> str:
    """The faithfulness of every method's maps at `SHOWN_STAGES`."""
    results = load(name)["results"]
    found, recipe = results["rows"], results["recipe"]
    shown = [measure for measure in MEASURES if found[0][measure] is not None]
    heads = [f"{each.replace('_', ' ')} {'↓' if each in LOWER_IS_BETTER else '↑'}" for each in shown]
    rows = [
        [row["stage"], row["method"], *(f"{row[measure]:.3f}" for measure in shown)]
        for row in found
        if row["stage"] in SHOWN_STAGES
    ]
    table = markdown(f"stage | method | {' | '.join(heads)}", "ll" + "r" * len(shown), rows)
    return (
        f"{table}\n\nMeans over {results['num_images']} test images of a single run of `{recipe['name']}` "
        f"({recipe['max_epochs']} epochs, test accuracy {results['test_acc']:.2%})."
    )


def trust_drawn() -> str:
    return trust("trust_drawn")


def trust_cifar() -> str:
    return trust("trust_cifar10")


def trust_methods() -> str:
    """The faithfulness of all methods on the embedded data, at the last stage or of pixels, and their cost."""
    entry = load("trust_methods_drawn")
    results = entry["results"]
    rows = [
        [
            row["stage"],
            row["method"],
            *(f"{row[measure]:.3f}" for measure in MEASURES),
            "" if row["passes_per_image"] is None else f"{row['passes_per_image']:.0f}",
            ", ".join(name.split("_")[0] for name in row["no_better_than_noise"]) if row["method"] != "random" else "",
        ]
        for row in results["rows"]
    ]
    heads = [f"{each.replace('_', ' ')} {'↓' if each in LOWER_IS_BETTER else '↑'}" for each in MEASURES]
    head = " | ".join(["stage", "method", *heads, "passes", "no better than noise in"])
    return (
        f"{markdown(head, 'llrrrrrrl', rows)}\n\nMeans over {results['num_images']} test images of a single run of "
        f"`{results['recipe']['name']}` ({results['recipe']['max_epochs']} epochs, test accuracy "
        f"{results['test_acc']:.2%}). Passes: forward passes of the network for one image; a backward pass counts two."
    )
