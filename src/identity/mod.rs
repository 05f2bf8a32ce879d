//! See the files of this layer.
