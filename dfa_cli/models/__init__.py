"""Models are lists of blocks. No model knows by which rule it is trained."""

from dfa_cli.models.base import Block, Model
from dfa_cli.models.batch import Batch
from dfa_cli.models.fully_connected import FullyConnected
from dfa_cli.models.graph_convolutional import GraphConvolutional
from dfa_cli.models.graph_network import GraphNetwork

__all__ = ["Batch", "Block", "FullyConnected", "GraphConvolutional", "GraphNetwork", "Model"]
