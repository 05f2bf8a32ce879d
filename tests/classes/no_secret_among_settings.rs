use lgss::secret::Secret;

#[derive(serde::Deserialize)]
struct Settings {
    password: Secret,
}

fn main() {}
