crate::trials![];
