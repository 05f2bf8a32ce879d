//! More than a search can look at, file systems that do not answer, and files that change while they are looked at.
crate::trials![];
