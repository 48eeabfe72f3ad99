//! What can happen to an installation while events arrive, each kind bounded in time.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::gateway::Gateway;
use crate::hang::Hang;
use crate::installation::{Installation, Link};
use crate::proxy::Network;
use crate::rabbitmq::RabbitMq;
use crate::redis::Redis;
use crate::traffic::{Random, Traffic};
use crate::upstream::{Reply, Upstream};

/// How long something is away at most, but for what takes longer to be noticed.
const SHORT: Duration = Duration::from_secs(4);
/// Longer than two heartbeats of the broker.
const LONG: Duration = Duration::from_secs(35);
/// How long a process is waited for that is to die at a point.
const UNTIL_IT_DIES: Duration = Duration::from_secs(5);
/// How long a destination that holds its answers holds one.
const HELD: Duration = Duration::from_secs(1);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// A gateway is killed.
    Gateway,
    /// A deliver is killed.
    Deliver,
    /// A gateway, a deliver or a shard is told to end, as in a rollout, and started again.
    Rollout,
    /// A shard is killed and away for a while.
    Shard,
    /// A shard hangs for a while.
    ShardHangs,
    /// The broker is killed and away for a while.
    Broker,
    /// The broker is stopped and away for a while.
    BrokerStops,
    /// The broker hangs for a while.
    BrokerHangs,
    /// The broker closes all connections.
    Connections,
    /// The broker takes nothing for a while.
    BrokerBlocks,
    /// Neither the broker nor any shard takes anything for a while.
    Neither,
    /// Redis is killed and away for a while.
    Redis,
    /// Redis hangs for a while.
    RedisHangs,
    /// Redis forgets everything.
    RedisForgets,
    /// Redis is restored to what it held some outages ago.
    RedisGoesBack,
    /// The network between one process and the broker, Redis or a shard carries nothing for a while.
    BlackHole,
    /// The same network ends connections and lets nobody in.
    Refuses,
    /// The disk of a shard is full for a while.
    Disk,
    /// The delivers or the shards are killed while the destination has not answered.
    Answering,
    /// A gateway dies with numbers claimed and nothing sent.
    Claimed,
    /// A gateway dies with events sent to the broker and not confirmed.
    Sent,
    /// A gateway dies with events durable and nobody told.
    Durable,
    /// A shard dies between writing to disk and telling.
    Committed,
    /// A shard dies when the broker has what it drained and it has not noted that.
    Drained,
    /// A deliver or a shard dies when the destination has answered and nothing of it is recorded.
    Attempted,
    /// A deliver dies when what became of an event is recorded and the broker not told.
    Recorded,
}

/// A destination that can hold its answers.
#[derive(Debug, Default)]
pub struct Gate {
    // Whether answers are held, and how many are.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(state, HELD, |state| state.0);
        waited.unwrap_or_else(PoisonError::into_inner).0.1 -= 1;
    }

    fn hold(&self, hold: bool) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = hold;
        self.changed.notify_all();
    }

    /// Waits until so many answers are held.
    fn wait(&self, count: usize) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(state, HELD, |state| state.1 < count));
    }
}

/// A destination that fails every seventh delivery and holds its answers when it is told to.
///
/// # Errors
/// When no port is free.
pub fn held_receiver(gate: Arc<Gate>) -> io::Result<Upstream> {
    let calls = AtomicU64::new(0);
    Upstream::start(move |_| {
        let call = calls.fetch_add(1, Ordering::AcqRel);
        gate.pass();
        Reply::Status(if call % 7 == 6 { 503 } else { 200 }, String::new())
    })
}

/// Everything that things happen to.
pub struct World<'a> {
    /// The processes.
    pub all: &'a mut Installation,
    /// The broker.
    pub broker: &'a RabbitMq,
    /// Redis.
    pub redis: &'a mut Redis,
    /// What arrives meanwhile.
    pub traffic: &'a Traffic,
    /// Where the destination holds its answers.
    pub gate: &'a Gate,
    /// What chooses.
    pub random: Random,
    /// When Redis lost what it had.
    pub losses: Vec<(Instant, Instant)>,
}

fn pick(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).unwrap_or_default()
}

impl World<'_> {
    /// Lets something happen and makes it good again; says whether it did happen.
    ///
    /// # Errors
    /// When what was killed does not come back.
    pub fn suffer(&mut self, kind: Kind) -> io::Result<bool> {
        let any = if self.random.below(2) == 0 { Role::Spool } else { Role::Deliver };
        match kind {
            Kind::Gateway => self.kill(Role::Gateway)?,
            Kind::Deliver => self.kill(Role::Deliver)?,
            Kind::Shard => self.shard(
                |shard| {
                    shard.kill();
                    Ok(())
                },
                Gateway::restart,
            )?,
            Kind::ShardHangs => self.shard(|shard| shard.hang(), |shard| shard.go_on())?,
            Kind::Broker => self.broker(
                |broker| {
                    broker.kill();
                    Ok(())
                },
                RabbitMq::restart,
            )?,
            Kind::BrokerStops => self.broker(
                |broker| {
                    broker.stop();
                    Ok(())
                },
                RabbitMq::restart,
            )?,
            Kind::BrokerHangs => self.broker(RabbitMq::hang, RabbitMq::go_on)?,
            Kind::BrokerBlocks => self.broker(RabbitMq::block, RabbitMq::unblock)?,
            Kind::Rollout => self.roll_out()?,
            Kind::Neither => self.neither()?,
            Kind::Connections => self.broker.close_connections()?,
            Kind::Redis => self.redis(
                |redis| {
                    redis.kill();
                    Ok(())
                },
                Redis::restart,
            )?,
            Kind::RedisHangs => self.redis(|redis| redis.hang(), |redis| redis.go_on())?,
            Kind::RedisForgets => self.redis_loses(|redis| redis.flush())?,
            Kind::RedisGoesBack => self.redis_loses(Redis::go_back)?,
            Kind::BlackHole => self.network(Network::BlackHole)?,
            Kind::Refuses => self.network(Network::Refuses)?,
            Kind::Disk => return self.disk(),
            Kind::Answering => self.answering()?,
            Kind::Claimed | Kind::Sent | Kind::Durable => return self.die_at(kind, Role::Gateway),
            Kind::Committed | Kind::Drained => return self.die_at(kind, Role::Spool),
            Kind::Attempted => return self.die_at(kind, any),
            Kind::Recorded => return self.die_at(kind, Role::Deliver),
        }
        Ok(true)
    }

    /// Some traffic while something is away, every third time for longer than a confirm is waited for; every fourth
    /// time something else is killed beside it.
    fn meanwhile(&mut self) -> io::Result<()> {
        self.traffic.pass_within(1 + self.random.below(30), SHORT);
        if self.random.below(3) == 0 {
            self.traffic.trickle(Duration::from_millis(1000 + self.random.below(4000)));
        }
        if self.random.below(4) == 0 {
            let role = if self.random.below(2) == 0 { Role::Gateway } else { Role::Deliver };
            self.kill(role)?;
            self.traffic.pass_within(1 + self.random.below(10), SHORT);
        }
        Ok(())
    }

    fn kill(&mut self, role: Role) -> io::Result<()> {
        let at = pick(&mut self.random, 2);
        self.process(role, at)?.restart()
    }

    fn shard(
        &mut self,
        away: fn(&mut Gateway) -> io::Result<()>,
        back: fn(&mut Gateway) -> io::Result<()>,
    ) -> io::Result<()> {
        let at = pick(&mut self.random, 2);
        away(self.process(Role::Spool, at)?)?;
        self.meanwhile()?;
        back(self.process(Role::Spool, at)?)
    }

    fn roll_out(&mut self) -> io::Result<()> {
        let role = match self.random.below(3) {
            0 => Role::Gateway,
            1 => Role::Deliver,
            _ => Role::Spool,
        };
        let at = pick(&mut self.random, 2);
        self.process(role, at)?.terminate()?;
        self.traffic.pass_within(1 + self.random.below(10), SHORT);
        self.process(role, at)?.restart()
    }

    fn neither(&mut self) -> io::Result<()> {
        self.broker.block()?;
        self.all.spools.iter().try_for_each(Gateway::hang)?;
        self.traffic.pass_within(1 + self.random.below(30), SHORT);
        self.all.spools.iter().try_for_each(Gateway::go_on)?;
        self.broker.unblock()
    }

    fn broker(
        &mut self,
        away: fn(&RabbitMq) -> io::Result<()>,
        back: fn(&RabbitMq) -> io::Result<()>,
    ) -> io::Result<()> {
        away(self.broker)?;
        // Some are kept by shards before the broker is back, some after.
        self.meanwhile()?;
        back(self.broker)
    }

    fn redis(
        &mut self,
        away: fn(&mut Redis) -> io::Result<()>,
        back: fn(&mut Redis) -> io::Result<()>,
    ) -> io::Result<()> {
        away(self.redis)?;
        self.meanwhile()?;
        back(self.redis)
    }

    /// Redis loses what it had, every other time while the broker takes nothing, so that only shards know better.
    fn redis_loses(&mut self, lose: fn(&mut Redis) -> io::Result<()>) -> io::Result<()> {
        let blocked = self.random.below(2) == 0;
        if blocked {
            self.broker.block()?;
            self.traffic.pass_within(1 + self.random.below(20), SHORT);
        }
        let from = Instant::now();
        lose(self.redis)?;
        self.losses.push((from, Instant::now()));
        self.traffic.pass_within(1 + self.random.below(10), SHORT);
        if blocked {
            self.broker.unblock()?;
        }
        self.redis.remember()
    }

    fn network(&mut self, network: Network) -> io::Result<()> {
        let at = pick(&mut self.random, self.all.links.len());
        let set = |all: &Installation, network| {
            if let Some(link) = all.links.get(at) {
                link.set(network);
            }
        };
        set(self.all, network);
        let done = if self.random.below(10) == 0 {
            self.traffic.trickle(LONG);
            Ok(())
        } else {
            self.meanwhile()
        };
        set(self.all, Network::Whole);
        done
    }

    fn disk(&mut self) -> io::Result<bool> {
        let Ok(disk) = &self.all.disk else { return Ok(false) };
        disk.fill()?;
        // Without the broker everything has to be kept.
        let away = self.random.below(2) == 0;
        if away {
            self.broker.block()?;
        }
        self.meanwhile()?;
        if away {
            self.broker.unblock()?;
        }
        self.all.disk.as_ref().map_or(Ok(()), |disk| disk.free())?;
        Ok(true)
    }

    fn answering(&mut self) -> io::Result<()> {
        self.gate.hold(true);
        self.traffic.pass_within(1 + self.random.below(4), SHORT);
        self.gate.wait(1 + pick(&mut self.random, 8));
        // One of two delivers has nothing under way when the other has all partitions.
        let shards = self.random.below(3) == 0;
        let processes = if shards { &mut self.all.spools } else { &mut self.all.delivers };
        processes.iter_mut().for_each(Gateway::kill);
        self.gate.hold(false);
        processes.iter_mut().try_for_each(Gateway::restart)
    }

    /// Has a process die at a point, and starts it again; says whether it came there in time.
    fn die_at(&mut self, kind: Kind, role: Role) -> io::Result<bool> {
        let at = pick(&mut self.random, 2);
        // A shard drains only what gateways could not publish.
        let to_shards = kind == Kind::Drained || (role == Role::Spool && self.random.below(2) == 0);
        let point = format!("{kind:?}:{}", 1 + self.random.below(5));
        self.process(role, at)?.begin(&[("POSTERN_DIE_AT", &point)])?;
        if role == Role::Deliver {
            // The other one has its partitions now, and gives them back only when it ends.
            self.process(role, 1 - at)?.restart()?;
        }
        if to_shards {
            self.cut_gateways_from_broker(Network::Refuses);
        }
        let until = Instant::now() + UNTIL_IT_DIES;
        while !self.process(role, at)?.ended() && Instant::now() < until {
            self.traffic.pass_within(1, Duration::from_millis(100));
        }
        let died = self.process(role, at)?.ended();
        if to_shards {
            self.cut_gateways_from_broker(Network::Whole);
        }
        // Its conversations go on without it for a while.
        self.traffic.pass_within(1 + self.random.below(10), Duration::from_secs(1));
        self.process(role, at)?.restart()?;
        Ok(died)
    }

    fn process(&mut self, role: Role, at: usize) -> io::Result<&mut Gateway> {
        let processes = match role {
            Role::Gateway => &mut self.all.gateways,
            Role::Deliver => &mut self.all.delivers,
            Role::Spool => &mut self.all.spools,
        };
        processes.get_mut(at).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn cut_gateways_from_broker(&self, network: Network) {
        let cut = |link: &&Link| link.name.starts_with("gateway") && link.name.ends_with("broker");
        self.all.links.iter().filter(cut).for_each(|link| link.set(network));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Gateway,
    Deliver,
    Spool,
}
