//! The apps as the message path sees them: one immutable snapshot, replaced as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fanfare_model::{App, AppId};

/// Reading takes no lock. A reader keeps the snapshot it has for as long as it looks at it.
#[derive(Default)]
pub struct Directory {
    apps: ArcSwap<HashMap<AppId, Arc<App>>>,
}

impl Directory {
    pub fn new(apps: impl IntoIterator<Item = App>) -> Self {
        let directory = Self::default();
        directory.replace(apps.into_iter().map(Arc::new));
        directory
    }

    pub fn app(&self, id: &AppId) -> Option<Arc<App>> {
        self.apps.load().get(id).cloned()
    }

    pub fn apps(&self) -> Vec<Arc<App>> {
        self.apps.load().values().cloned().collect()
    }

    pub fn replace(&self, apps: impl IntoIterator<Item = Arc<App>>) {
        self.apps.store(Arc::new(apps.into_iter().map(|app| (app.id.clone(), app)).collect()));
    }

    /// Adds or replaces one app.
    pub fn insert(&self, app: App) {
        let app = Arc::new(app);
        self.apps.rcu(|apps| {
            let mut apps = HashMap::clone(apps);
            apps.insert(app.id.clone(), app.clone());
            apps
        });
    }

    pub fn remove(&self, id: &AppId) {
        self.apps.rcu(|apps| {
            let mut apps = HashMap::clone(apps);
            apps.remove(id);
            apps
        });
    }
}
