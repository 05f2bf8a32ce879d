use lgss::secret::Secret;

#[derive(serde::Serialize)]
struct Record {
    uid: u32,
    key: Secret,
}

fn main() {}
