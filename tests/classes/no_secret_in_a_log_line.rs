use lgss::secret::Secret;

fn main() {
    let key = Secret::new(vec![1]);
    println!("{key}");
}
