//! Builds again when a migration is added: `sqlx::migrate!` watches the files it has seen, not the directory.

fn main() {
    println!("cargo::rerun-if-changed=../core/migrations");
}
