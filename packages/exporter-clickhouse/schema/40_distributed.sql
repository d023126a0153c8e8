CREATE TABLE IF NOT EXISTS {{database}}.{{table}}{{on_cluster}} AS {{database}}.{{table}}{{suffix}}
ENGINE = Distributed({{cluster_literal}}, {{database_literal}}, '{{table}}{{suffix}}', {{sharding_key}})
