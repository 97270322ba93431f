"""Shares of operations out of a profiler's trace."""

import pytest


def trace(*events):
    """A trace with events of a name and seconds each."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    plane = space.planes.add(name="/host:CPU")
    line = plane.lines.add()
    for number, (name, seconds) in enumerate(events):
        plane.event_metadata[number].name = name
        line.events.add(metadata_id=number, duration_ps=int(seconds * 1e12))
    return space.SerializeToString()


def test_holders_and_the_executor_are_no_operations():
    from operations import by_operation

    found = by_operation(
        trace(
            ("while/body/MatMul:_MklBatchMatMulV2", 0.25),
            ("while/body/again:_MklBatchMatMulV2", 0.5),
            ("while:While", 2.0),
            ("call: __inference_wrapper_7", 4.0),
            ("ExecutorState::Process", 3.0),
            ("words:RaggedGather", 0.125),
        )
    )

    assert found == {
        "_MklBatchMatMulV2": {"calls": 2, "seconds": 0.75},
        "RaggedGather": {"calls": 1, "seconds": 0.125},
    }


def test_the_table_accounts_for_all_of_the_time():
    from operations import as_page

    seconds = {"_MklMatMul": 0.5, "Tanh": 0.25, "ResourceGather": 0.125}
    seconds |= {"StringStrip": 0.0625, "Pack": 0.03125}
    operations = {n: {"calls": 1, "seconds": s} for n, s in seconds.items()}
    part = {"texts": 1000, "seconds": 1.0, "operations": operations}
    result = {"parts": {"batches": part}, "command": "", "date": "", "cores": 2}
    lines = as_page(result | {"load_average": [0.0]}).splitlines()

    rows = [line.split("|")[1:3] for line in lines if "%" in line]
    shares = {name.strip(): int(share.strip(" %")) for name, share in rows}
    assert shares["products"] == 50
    assert shares["gates"] == 25
    assert shares["look-ups of rows"] == 12
    assert shares["text to ids"] == 6
    assert shares["other operations"] == 3
    assert shares["the cheapest, and starting them"] == 3
    assert sum(shares.values()) == pytest.approx(100, abs=3)
    assert "| 1000 |" in lines[-1]
