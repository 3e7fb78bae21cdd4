"""A finished training as a folder for the Hugging Face Hub, and the folder to the Hub where that is asked for.

Imports `launch.results` and below; no torch. Begin with `folder.write`. `facts` gathers what there is to say of a
stage, `card` says it to people and in the Hub's schema, `reproduction` is the experiment file that trains it again,
`hub` sends a folder, and is the only one that ever uses a network.
"""

from launch.publish.card import Wishes
from launch.publish.folder import Publication, write

__all__ = ["Publication", "Wishes", "write"]
