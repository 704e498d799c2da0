//! libkv for Node: the native part.
