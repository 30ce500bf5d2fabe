use super::*;
use bytes::Bytes;
use smol::block_on;

struct DataDir(PathBuf);

impl DataDir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("callwarden-disk-{name}-{}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        Self(path)
    }

    fn disk(&self, node: &str) -> Disk {
        Disk::new(&self.0, node).expect("a directory")
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn write(name: &str, bytes: &'static [u8], instead_of: Option<&str>) -> DiskCommand {
    let instead_of = instead_of.map(str::to_owned);
    DiskCommand::Write { name: name.to_owned(), bytes: Bytes::from_static(bytes), instead_of, synced: false }
}

fn read(disk: &Disk, name: &str) -> Result<DiskAnswer, DiskError> {
    block_on(disk.run(DiskCommand::Read { name: name.to_owned() }))
}

fn adopt(disk: &Disk) -> Vec<Orphan> {
    match block_on(disk.run(DiskCommand::Adopt)).expect("adopted") {
        DiskAnswer::Adopted(orphans) => orphans,
        other @ (DiskAnswer::Done | DiskAnswer::Bytes(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_file_is_written_read_replaced_and_removed() {
    let data = DataDir::new("files");
    let disk = data.disk("one");
    block_on(async {
        assert_eq!(disk.run(write("a.ulaw", b"sound", None)).await, Ok(DiskAnswer::Done));
        assert_eq!(read(&disk, "a.ulaw"), Ok(DiskAnswer::Bytes(Bytes::from_static(b"sound"))));
        assert_eq!(disk.run(write("a.txt", b"text", Some("a.ulaw"))).await, Ok(DiskAnswer::Done));
        assert!(read(&disk, "a.ulaw").is_err());
        let remove = DiskCommand::Remove { name: "a.txt".to_owned() };
        assert_eq!(disk.run(remove.clone()).await, Ok(DiskAnswer::Done));
        assert_eq!(disk.run(remove).await, Ok(DiskAnswer::Done), "once more is no fault");
    });
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    let data = DataDir::new("unwritten");
    let disk = data.disk("one");
    let directory = data.0.join("utterances/one");
    fs::create_dir(directory.join("a.facts")).expect("something in its place");
    for synced in [false, true] {
        let name = "a.facts".to_owned();
        let write = DiskCommand::Write { name, bytes: Bytes::from_static(b"facts"), instead_of: None, synced };
        assert!(block_on(disk.run(write)).is_err());
        assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 1);
    }
}

#[test]
fn what_a_process_left_is_adopted_once_and_what_a_living_one_has_is_not() {
    let data = DataDir::new("adopted");
    let (gone, alive, next) = (data.disk("gone"), data.disk("alive"), data.disk("next"));
    block_on(gone.run(write("left.ulaw", b"sound", None))).expect("written");
    block_on(alive.run(write("mine.ulaw", b"sound", None))).expect("written");
    fs::write(data.0.join("utterances/gone/cut.ulaw.part"), b"so").expect("written");
    assert_eq!(adopt(&next), [], "both live");
    drop(gone);
    let files = vec![("left.ulaw".to_owned(), 5)];
    assert_eq!(adopt(&next), [Orphan { node: "gone".to_owned(), files }]);
    assert_eq!(adopt(&next), [], "it is adopted");
    assert_eq!(adopt(&alive), [], "nobody else adopts it");
    assert_eq!(read(&next, "left.ulaw"), Ok(DiskAnswer::Bytes(Bytes::from_static(b"sound"))));
    assert!(read(&alive, "mine.ulaw").is_ok());
    block_on(next.run(DiskCommand::Bury { node: "gone".to_owned() })).expect("buried");
    let left: Vec<_> = fs::read_dir(data.0.join("utterances")).expect("readable").collect();
    assert_eq!(left.len(), 4, "two directories and two locks: {left:?}");
}

#[test]
fn what_an_heir_did_not_finish_is_adopted_again() {
    let data = DataDir::new("again");
    drop(data.disk("gone"));
    let heir = data.disk("heir");
    assert_eq!(adopt(&heir).len(), 1);
    drop(heir);
    let nodes: Vec<String> = adopt(&data.disk("next")).into_iter().map(|orphan| orphan.node).collect();
    assert_eq!(nodes.len(), 2, "{nodes:?}");
}

#[test]
fn a_disk_that_refuses_says_why() {
    let data = DataDir::new("refuses");
    let disk = data.disk("one");
    fs::remove_dir_all(&data.0).expect("removed");
    let refusal = block_on(disk.run(write("a.ulaw", b"sound", None))).expect_err("no directory");
    assert!(refusal.0.contains("No such file"), "{refusal}");
}
