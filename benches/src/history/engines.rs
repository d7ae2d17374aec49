//! The engines of the distributed profile: given ones, or ones that this run has started.

use std::env;

use shiori_benches::{EngineUrls, Engines as Databases};

use crate::{
    Result,
    options::{Fault, Options},
    private_engines::{PrivateMariaDb, PrivateRedis, PrivateReplicaSet},
    proxy::Proxy,
};

/// The engines of a run. Those that it has started end when this is dropped.
pub(crate) struct Engines {
    /// Proxies of the engines that have no proxies of their own, with their names.
    proxies: Vec<(&'static str, Proxy)>,
    mariadb: Option<PrivateMariaDb>,
    mongodb: Option<PrivateReplicaSet>,
    redis: Option<PrivateRedis>,
    urls: EngineUrls,
    databases: Databases,
}

impl Engines {
    /// Opens the engines at the URLs of the environment. Those that a fault kills or whose URLs are not
    /// set are started.
    ///
    /// # Errors
    ///
    /// If one does not start.
    pub(crate) async fn open(options: &Options) -> Result<Self> {
        let given = |variable: &str, faults: &[Fault]| {
            env::var(variable).ok().filter(|_| !options.has(faults))
        };
        let (mut mariadb, mut mongodb, mut redis) = (None, None, None);
        let faults = [Fault::MysqlRestart, Fault::MysqlKill];
        let mysql_url = match given("SHIORI_TEST_MYSQL_URL", &faults) {
            Some(url) => url,
            None => mariadb.insert(PrivateMariaDb::start().await?).url(),
        };
        let faults = [
            Fault::MongodbElection,
            Fault::MongodbStop,
            Fault::MongodbPartition,
            Fault::MongodbFailpoint,
        ];
        let mongodb_url = match given("SHIORI_TEST_MONGODB_URL", &faults) {
            Some(url) => url,
            None => mongodb.insert(PrivateReplicaSet::start().await?).url(),
        };
        let redis_url = match given("SHIORI_TEST_REDIS_URL", &[Fault::RedisKill, Fault::RedisFlush])
        {
            Some(url) => url,
            None => redis.insert(PrivateRedis::start().await?).url(),
        };
        let databases = Databases::open_at(&mysql_url, &mongodb_url, redis_url).await;
        let urls = databases.urls().clone();
        let mut engines = Self { proxies: Vec::new(), mariadb, mongodb, redis, urls, databases };
        if options.has(&[Fault::Cut, Fault::Freeze, Fault::HalfOpen]) {
            engines.add_proxies().await?;
        }
        Ok(engines)
    }

    async fn add_proxies(&mut self) -> Result<()> {
        let urls = &mut self.urls;
        // The driver would discover the members of a replica set and bypass this proxy.
        let mongodb = self.mongodb.is_none().then_some(("mongodb", &mut urls.mongodb));
        let others = [("mysql", &mut urls.mysql), ("redis", &mut urls.redis)];
        for (name, url) in others.into_iter().chain(mongodb) {
            let target = authority(url).to_owned();
            let proxy = Proxy::start(&target).await?;
            *url = url.replacen(&target, &proxy.address().to_string(), 1);
            self.proxies.push((name, proxy));
        }
        if self.mongodb.is_none() {
            let base = urls.mongodb.split('?').next().unwrap_or_default();
            urls.mongodb = format!("{base}?directConnection=true");
        }
        Ok(())
    }

    /// The proxies of the engines, with their names.
    pub(crate) fn proxies(&self) -> Vec<(String, &Proxy)> {
        let members = self.mongodb.iter().flat_map(PrivateReplicaSet::proxies).enumerate();
        let members = members.map(|(nth, proxy)| (format!("mongodb {nth}"), proxy));
        self.proxies
            .iter()
            .map(|(name, proxy)| ((*name).to_owned(), proxy))
            .chain(members)
            .collect()
    }

    /// Their URLs.
    pub(crate) fn urls(&self) -> &EngineUrls {
        &self.urls
    }

    /// The MariaDB that this run has started.
    ///
    /// # Errors
    ///
    /// If it has started none.
    pub(crate) fn mariadb(&mut self) -> Result<&mut PrivateMariaDb> {
        Ok(self.mariadb.as_mut().ok_or("the run has no MariaDB of its own")?)
    }

    /// The replica set that this run has started.
    ///
    /// # Errors
    ///
    /// If it has started none.
    pub(crate) fn mongodb(&mut self) -> Result<&mut PrivateReplicaSet> {
        Ok(self.mongodb.as_mut().ok_or("the run has no MongoDB of its own")?)
    }

    /// The Redis that this run has started.
    ///
    /// # Errors
    ///
    /// If it has started none.
    pub(crate) fn redis(&mut self) -> Result<&mut PrivateRedis> {
        Ok(self.redis.as_mut().ok_or("the run has no Redis of its own")?)
    }

    /// Drops the databases.
    pub(crate) async fn close(self) {
        self.databases.drop_all().await;
    }
}

/// The host and port of a URL.
pub(crate) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_has_no_password() {
        for url in ["mysql://u:p@h:1/a", "mongodb://h:1/a?b=c", "http://h:1", "redis://h:1/"] {
            assert_eq!(authority(url), "h:1");
        }
    }
}
