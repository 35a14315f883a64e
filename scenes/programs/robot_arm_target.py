"""The arm of the target pictures, by other means than the fit's: the URDF read as XML, and its joints in NumPy."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from scipy.spatial.transform import Rotation

ROBOT = ElementTree.parse(Path(__file__).with_name("robot_arm.urdf")).getroot()


def numbers(element, key):
    """Return the three numbers of an attribute; zeros without any."""
    text = None if element is None else element.get(key)
    return np.zeros(3) if text is None else np.array(text.split(), float)


def rigid(rotation, translation):
    """Return the motion [4, 4] of a rotation by scipy and a translation."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.as_matrix(), translation
    return matrix


def stand(**angles):
    """Return the pose of each link, from the base outwards: joints are listed in that order."""
    frames = {"base": rigid(Rotation.from_matrix([[0, 1, 0], [0, 0, 1], [1, 0, 0]]), np.zeros(3))}
    for joint in ROBOT.iter("joint"):
        origin, axis = joint.find("origin"), numbers(joint.find("axis"), "xyz")
        fixed = rigid(Rotation.from_euler("xyz", numbers(origin, "rpy")), numbers(origin, "xyz"))
        turn = rigid(Rotation.from_rotvec(float(angles.get(joint.get("name"), 0.0)) * axis), np.zeros(3))
        frames[joint.find("child").get("link")] = frames[joint.find("parent").get("link")] @ fixed @ turn
    return {f"objects.{link}.pose": frame for link, frame in frames.items()}
