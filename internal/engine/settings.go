package engine

import (
	"encoding/xml"
	"strings"
)

// serverSettings suit a machine that ClickHouse shares with Redis and kohorta, from two cores up:
//   - half of the memory at most (of the container's, if it has a limit); small fixed caches instead of 5 GiB of marks.
//   - four background threads instead of 16, so that merges do not push the queries aside, but the usual 32 slots for their work, nearly all of
//     them open to mutations, and a tenth of the usual pause when all are taken: else a deletion across many months takes a second for every few.
//   - every insert and merge is synced before it is acknowledged: there is no replica to bring back what a power cut takes. That costs about half
//     a millisecond for each part an insert makes, so one insert should not touch many months.
//   - no system log tables: they would grow without anybody reading them. What happens is in clickhouse.log, queries only when they fail.
//   - one listener on loopback; HTTP stays closed, since nothing here speaks it.
//
// The same file may hold remote_servers with several such processes as shards; a cluster for keeps is made of servers, though.
const serverSettings = `<clickhouse>
    <path>{dir}/data/</path>
    <tmp_path>{dir}/data/tmp/</tmp_path>
    <user_files_path>{dir}/data/user_files/</user_files_path>
    <format_schema_path>{dir}/data/format_schemas/</format_schema_path>
    <users_config>{dir}/users.xml</users_config>
    <listen_host>127.0.0.1</listen_host>
    <tcp_port>{port}</tcp_port>
    <timezone>UTC</timezone>
    <log-level>information</log-level>
    <logger><level>information</level><console>true</console></logger>
    <send_crash_reports><enabled>false</enabled></send_crash_reports>
    <mlock_executable>false</mlock_executable>
    <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
    <mark_cache_size>268435456</mark_cache_size>
    <index_mark_cache_size>67108864</index_mark_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <background_pool_size>4</background_pool_size>
    <background_merges_mutations_concurrency_ratio>8</background_merges_mutations_concurrency_ratio>
    <background_schedule_pool_size>16</background_schedule_pool_size>
    <background_processing_pool_task_sleep_seconds_when_no_work_random_part>0.1</background_processing_pool_task_sleep_seconds_when_no_work_random_part>
    <merge_tree>
        <number_of_free_entries_in_pool_to_execute_mutation>2</number_of_free_entries_in_pool_to_execute_mutation>
        <fsync_after_insert>{sync}</fsync_after_insert>
        <fsync_part_directory>{sync}</fsync_part_directory>
        <min_rows_to_fsync_after_merge>{sync}</min_rows_to_fsync_after_merge>
    </merge_tree>
</clickhouse>
`

// userSettings are the defaults of every session. A file of orders from several years, sent in one batch, has a part for each month. Of a query
// that fails the log quotes only the beginning: its values may be identifiers.
const userSettings = `<clickhouse>
    <profiles>
        <default>
            <max_partitions_per_insert_block>1000</max_partitions_per_insert_block>
            <log_queries_cut_to_length>200</log_queries_cut_to_length>
            <session_timezone>UTC</session_timezone>
        </default>
    </profiles>
    <users>
        <default>
            <password></password>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <grants>
                <query>GRANT SYSTEM LISTEN ON *.*</query>
                <query>GRANT SELECT ON system.numbers</query>
            </grants>
        </default>
        <kohorta>
            <password>{password}</password>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </kohorta>
    </users>
    <quotas><default></default></quotas>
</clickhouse>
`

func escapeXML(text string) string {
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(text))
	return escaped.String()
}
