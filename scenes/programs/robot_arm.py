"""A robot arm: where its links are at given joint angles, by pytorch-kinematics from a URDF."""

from pathlib import Path

import pytorch_kinematics
import torch

URDF = Path(__file__).with_name("robot_arm.urdf")
ARM = pytorch_kinematics.build_chain_from_urdf(URDF.read_bytes()).to(dtype=torch.float64)
JOINTS = ARM.get_joint_parameter_names()
# The joints' limits: the ranges of the parameters that are called as they are.
RANGES = dict(zip(JOINTS, zip(*ARM.get_joint_limits(), strict=True), strict=True))
# URDF has z upwards, scenes have y.
UPRIGHT = torch.tensor([[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)


def place(**angles):
    """Return the pose of each link: the objects of the scene are called as the links, the parameters as the joints."""
    frames = ARM.forward_kinematics(torch.stack([angles[joint] for joint in JOINTS]))
    return {f"objects.{link}.pose": UPRIGHT @ frame.get_matrix()[0] for link, frame in frames.items()}


def report(run):
    """Draw the angles within the limits of their joints, and the errors of start and result in deviations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    ranges, errors = figure.subplots(1, 2, width_ratios=[1.6, 1])
    names = list(run.found)
    for row, name in enumerate(names):
        low, high = (torch.rad2deg(torch.tensor(end)) for end in run.ranges[name])
        ranges.barh(row, high - low, left=low, height=0.5, color="0.88", label=None if row else "limits")
    for label, angles, marker in (("start", run.start, "o"), ("found", run.found, "+"), ("true", run.true, "x")):
        if angles:
            ranges.plot([torch.rad2deg(angles[name]) for name in names], range(len(names)), marker, label=label)
    ranges.set_yticks(range(len(names)), names)
    ranges.set(xlabel="degrees")
    ranges.legend(fontsize="small")
    if run.deviations:
        deviations = [float(torch.rad2deg(run.deviations[name])) for name in names]
        off = [float(torch.rad2deg(run.true[name] - run.found[name])) for name in names] if run.true else None
        errors.errorbar([0] * len(names), range(len(names)), xerr=deviations, fmt="+", capsize=4, label="1 deviation")
        if off:
            errors.plot(off, range(len(names)), "x", color="C2", label="true")
        errors.set_yticks(range(len(names)), [])
        errors.set(xlabel="degrees from what was found")
        errors.legend(fontsize="small")
    return figure
