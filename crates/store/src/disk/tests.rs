use std::sync::Arc;

use super::*;
use crate::Memory;
use crate::contract::{self, Subject};

mod crash;
mod damage;
mod erased;
mod full;
mod random;

/// A disk store in a directory of its own, with no reserve: tests run on small disks too.
pub(super) struct OnDisk {
    pub(super) dir: tempfile::TempDir,
    disk: Option<Arc<Disk>>,
}

pub(super) fn options(path: &std::path::Path) -> DiskOptions {
    DiskOptions { free_bytes_min: 0, cache_bytes: 4 * 1024 * 1024, ..DiskOptions::new(path) }
}

impl OnDisk {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(options(dir.path())).unwrap();
        Self { dir, disk: Some(Arc::new(disk)) }
    }
}

impl Subject for OnDisk {
    fn backend(&self) -> Arc<dyn Backend> {
        self.disk.clone().unwrap()
    }

    fn reopen(&mut self) -> bool {
        let disk = self.disk.take().unwrap();
        disk.close();
        assert_eq!(Arc::strong_count(&disk), 1, "a case still holds the backend");
        drop(disk);
        self.disk = Some(Arc::new(Disk::open(options(self.dir.path())).unwrap()));
        true
    }
}

struct InMemory(Arc<Memory>);

impl Subject for InMemory {
    fn backend(&self) -> Arc<dyn Backend> {
        self.0.clone()
    }

    fn reopen(&mut self) -> bool {
        false
    }
}

#[test]
fn memory_keeps_the_contract() {
    contract::run(|| InMemory(Arc::new(Memory::new(Epoch::parse("memory").unwrap()))));
}

#[test]
fn disk_keeps_the_contract() {
    contract::run(OnDisk::new);
}
