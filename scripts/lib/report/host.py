# SPDX-License-Identifier: GPL-2.0-or-later
"""The sections on this host without a Linux guest: scripts/demo, scripts/bench, and the end-to-end tests' figures."""
import re

import charts
from text import NONE, part, table

RATIOS = (("vanilla / pvsched, p50", "p50_vanilla_over_pvsched"),
          ("vanilla / pvsched, p99", "p99_vanilla_over_pvsched"),
          ("pvsched / static, p50", "p50_pvsched_over_static"), ("pvsched / static, max", "max_pvsched_over_static"),
          ("co-tenants, pvsched / vanilla", "cotenant_pvsched_over_vanilla"),
          ("co-tenants, pvsched / static", "cotenant_pvsched_over_static"))
RUNS = ("vanilla", "static", "pvsched")


def version(release):
    """Of a kernel that nobody else has only the numbers say something."""
    return re.match(r"\d+\.\d+", release)[0]


def demo(data, charts_out, name):
    runs, host = data["runs"], data["host"]
    charts_out[f"{name}-cotenants.svg"] = charts.bars(
        "Co-tenants' throughput beside a busy VM", "operations/s",
        [("six processes on the vCPU's CPU", {m: (runs[m]["cotenant_ops"], None) for m in RUNS})], RUNS)
    return part("demo", kernel=version(host["kernel"]), date=data["date"], sources=", ".join(host["sources"]),
                actuator=host["actuator"], rt_group=host["rt_group"],
                runs=table(["", "samples", "p50 µs", "p99 µs", "max µs", "co-tenants' operations/s"],
                           [[m, runs[m]["samples"], *(f"{runs[m][k]:.0f}" for k in ("p50_us", "p99_us", "max_us")),
                             runs[m]["cotenant_ops"]] for m in RUNS]),
                ratios=table(["ratio", f"median of {data['rounds']} rounds", "worst round"],
                             [[label, f"{data['ratio'][key]:.2f}", f"{data['ratio']['worst'][key]:.2f}"]
                              for label, key in RATIOS]),
                boosts=data["boosts"], throttles=data["throttles"], restored=str(data["restored"]).lower(),
                leftovers=", ".join(data["leftovers"]) or "nothing", chart=f"benchmarks/{name}-cotenants.svg")


def budgets(data, *_):
    rows = [[g["guest"], g["throttles"], f"{g['boosted_of_budget']:.3f}", f"{g['cotenant_ops']:.3f}",
             f"{g['cotenant_cpu']:.3f}"] for g in data["guests"]]
    return part("budgets", command=data["command"], seconds=data["seconds"],
                guests=table(["guest", "throttles", "boosted, of what the budgets allow",
                              "co-tenants' operations, of vanilla's", "their CPU time"], rows))


def cost(data, *_):
    pipe, events = data["pipe"], data["events"]
    applied = events["event_to_applied_us"]
    return part("cost", kernel=version(data["kernel"]), date=data["date"], rounds=data["rounds"],
                no_vm=f"{pipe['no_vm_over_none']['median']:.3f}", no_vm_worst=f"{pipe['no_vm_over_none']['worst']:.3f}",
                vm=f"{pipe['vm_over_none']['median']:.2f}",
                programs=table(["program", "events", "ns an event"],
                               [[f"`{n}`", p["events"], f"{p['ns_per_event']:.0f}"]
                                for n, p in sorted(events["programs"].items())]),
                p50=f"{applied['p50_us']:.0f}", p99=f"{applied['p99_us']:.0f}", count=applied["count"])


def hooks(data):
    """`data`: scripts/bench --guest."""
    def cells(found):
        ns = found and f"{found['ns']['median']:.1f} ({found['ns']['worst']:.1f})"
        return [found["instructions"], ns] if found else [NONE, NONE]

    names = {"sched_wakeup_remote": "`sched_wakeup`, task of another CPU", "nmi_first": "NMI, first handler",
             "nmi_last": "NMI, last handler", "pvs_store": "`pvs_store`, the store itself"}
    rows = [["an empty function", NONE, *cells({"instructions": 1, "ns": data["empty_ns"]}), *cells(None)]]
    rows += [[names.get(h["hook"], f"`{h['hook']}`"), h["bytes"] or NONE, *cells(h["unchanged"]), *cells(h["changed"])]
             for h in data["hooks"]]
    return part("hooks", processor=data["processor"], date=data["date"], release=data["module_kernel"] or NONE,
                rounds=data["rounds"],
                hooks=table(["hook", "bytes", "unchanged: instructions", "ns", "changed: instructions", "ns"], rows),
                called=", ".join(f"`{name}` {size}" for name, size in data["called"].items()) or NONE)


def starts(data, cost_data):
    """`data`: the test of many starts; `cost_data`: the hook's times, from scripts/bench."""
    hook, start = cost_data["hook"], cost_data["start"]
    values = {f"{name}_{share}": f"{hook[key][share]:.2g}"
              for name, key in (("true", "true"), ("plain", "no_element"), ("sent", "forwarded"))
              for share in ("p50", "p99")}
    return part("starts", command=data["command"], repeat=data["repeat"], pairs=3 * cost_data["rounds"],
                first=data["rss_kib"][0],
                half=data["rss_kib"][1], last=data["rss_kib"][2], **values,
                without=f"{start['ms']['without']['p50']:.0f}", with_hook=f"{start['ms']['with']['p50']:.0f}",
                delay=f"{start['delay_ms_median']:.1f}")
