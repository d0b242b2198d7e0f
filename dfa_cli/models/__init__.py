"""Models are lists of blocks. No model knows by which rule it is trained."""

from dfa_cli.models.base import Block, Model, ModelShape, glorot_, stack_blocks
from dfa_cli.models.batch import Batch, Graph
from dfa_cli.models.fully_connected import FullyConnected, Linear
from dfa_cli.models.graph_convolutional import GraphConvolution, GraphConvolutional
from dfa_cli.models.graph_network import GraphNetwork

__all__ = [
    "Batch",
    "Block",
    "FullyConnected",
    "Graph",
    "GraphConvolution",
    "GraphConvolutional",
    "GraphNetwork",
    "Linear",
    "Model",
    "ModelShape",
    "glorot_",
    "stack_blocks",
]
