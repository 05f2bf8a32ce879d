use lgss::class::InFile;
use lgss::secret::Secret;

fn main() {
    let key = Secret::new(vec![1]);
    let _ = serde_json::to_writer(std::io::sink(), &InFile::new(&key));
}
