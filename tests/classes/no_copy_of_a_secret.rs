use lgss::secret::Secret;

fn main() {
    let key = Secret::new(vec![1]);
    let _ = key.clone();
}
